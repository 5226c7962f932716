"""Saves how far a named consumer has come: in the background, many positions at a time.

The consumer says what was handled; what is handled but not saved is handled again after a crash.
What is saved was handled, so nothing is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from dafka.config import ConsumerConfig
from dafka.core.partition import Key
from dafka.errors import StoreError
from dafka.io.driver import Driver
from dafka.io.life import node_logger
from dafka.io.offsets import Lost, Offsets
from dafka.io.offsets_format import Saved, Subscription
from dafka.io.shell import Job, Shell, Turnstile

_CLOSE_S = 0.5
_RETRY_S = 1.0
_RETRY_MAX_S = 10.0

logger = node_logger("consumer")


class Commits:
    """The positions of one consumer on their way to the disk; one job saves them."""

    def __init__(self, config: ConsumerConfig, shell: Shell) -> None:
        """Opens nothing."""
        self._offsets = Offsets(config.offsets, config.name)
        self._automatic = config.auto_commit
        self._interval_s = config.commit_interval_s
        self._handled: dict[Key, int] = {}
        """What `commit` saves; with automatic commits, what is saved by itself."""
        self._due: dict[Key, int] = {}
        self._subscriptions: list[Subscription] = []
        self._known: list[Subscription] = []
        """Subscriptions of which it is to be saved that they are settled."""
        self._resumed: dict[Key, int] = {}
        """The positions of an earlier life that were not taken up yet."""
        self._unsaved: set[Key] = set()
        """Partitions of which it is not on the disk yet where they began."""
        self._shell = shell
        self._saving = Turnstile(shell)
        self._more, self._hurry, self._ending = (shell.signal() for _ in range(3))
        self._worker: Job | None = None

    # Life

    async def open(self, topics: Iterable[str], patterns: Iterable[str]) -> Saved:
        """Open the directory, and return what it holds, and these subscriptions in any case.

        Raises `StoreError` if it is in use, damaged or unusable.
        """
        self._threads = self._shell.pool(1)
        try:
            saved = await self._threads.run(self._offsets.open)
            self._check(saved)
            now = time.time()
            wanted = [(topic, False) for topic in topics] + [(one, True) for one in patterns]
            new = [Subscription(*one, now) for one in wanted if one not in saved.subscriptions]
            await self._threads.run(self._offsets.save, {}, new)
        except BaseException:
            await self.close()
            raise
        self._subscriptions = [saved.subscriptions[w] for w in wanted if w in saved.subscriptions]
        self._subscriptions += new
        self._resumed = dict(saved.positions)
        return saved

    def _check(self, saved: Saved) -> None:
        name, directory = self._offsets.name, self._offsets.directory
        for topic, partition in saved.damaged[:1]:
            raise StoreError(
                f"the position of consumer {name!r} in topic {topic} partition {partition} is "
                f"damaged in {directory}: set it anew by `dafka offsets set`"
            )
        for text in saved.unreadable:
            logger.warning(
                "consumer %r: since when it has subscribed to %s is damaged in %s: partitions "
                "that came while it was away begin where `start` says",
                *(name, text, directory),
            )

    def start(self, driver: Driver, progress: Callable[[], bool]) -> None:
        """Save what is noted. `progress` notes how far the user is; True if it may go on so."""
        self._driver = driver
        self._progress = progress
        self._worker = self._shell.spawn("commits", self._work)

    async def stop(self, timeout: float) -> None:
        """Save what was handled; says so if that takes longer, or fails."""
        self._ending.set()
        for event in (self._more, self._hurry):
            event.set()
        if self._worker is not None:
            await self._worker.join(timeout)
            self._worker.kill()
        if self._due or (self._automatic and self._handled):
            logger.warning(
                "consumer %r stopped before its last positions were saved in %s: the records "
                "after them will come again",
                *(self._offsets.name, self._offsets.directory),
            )

    async def close(self) -> None:
        """Let go of the directory: at once, or as soon as the disk lets it."""
        if not await self._shell.within(_CLOSE_S, self._offsets.close):
            logger.warning("positions not closed yet directory=%s", self._offsets.directory)
        await self._threads.close()

    # What the consumer does

    def began(self, key: Key, offset: int) -> None:
        """A partition begins here: that is saved in any case, and before a record is given."""
        if self._resumed.pop(key, None) == offset:
            return
        self._handled.pop(key, None)
        self._due[key] = offset
        self._unsaved.add(key)
        self._hurry.set()
        self._more.set()

    def settled(self) -> None:
        """The consumer has learned of all partitions there are."""
        self._known = [replace(one, settled=True) for one in self._subscriptions]
        self._more.set()

    def is_open(self, key: Key) -> bool:
        """Whether it is not on the disk yet where a partition begins."""
        return key in self._unsaved

    async def settle(self, key: Key) -> None:
        """See to it that it is, if the disk lets it: a crash must not move where it begins."""
        await self._try_saving()
        self._unsaved.discard(key)

    def note(self, key: Key, offset: int) -> None:
        """What comes before was handled."""
        self._handled[key] = offset
        if self._automatic:
            self._more.set()

    def look(self) -> None:
        """A run was given: `progress` will have something to say."""
        if self._automatic:
            self._more.set()

    async def commit(self, positions: Mapping[Key, int] | None, *, wait: bool) -> None:
        """Save these positions, or all that was noted; without `wait` soon, and in the background.

        Raises `StoreError` if it cannot be done now; then it is tried again later.
        """
        if positions is None:
            self._due |= self._handled
            self._handled.clear()
        else:
            self._due |= positions
            for key in positions:
                self._handled.pop(key, None)
        if wait:
            await self._save()
        elif self._due:
            self._more.set()

    # The worker

    async def _work(self) -> None:
        try:
            pause = _RETRY_S
            while not self._ending.is_set():
                await self._more.wait()
                await self._hurry.wait(self._interval_s)
                self._hurry.clear()
                self._more.clear()
                self._collect()
                if await self._try_saving():
                    pause = _RETRY_S
                    continue
                await self._ending.wait(pause)
                self._more.set()
                pause = min(2 * pause, _RETRY_MAX_S)
            self._collect()
            await self._try_saving()
        except Exception as error:
            self._driver.fail(error)

    def _collect(self) -> None:
        if self._progress():
            self.look()
        if self._automatic:
            self._due |= self._handled
            self._handled.clear()

    async def _try_saving(self) -> bool:
        try:
            await self._save()
        except Lost as error:
            if not isinstance(self._driver.failed.exception, Lost):
                self._driver.fail(error)
        except StoreError as error:
            self._driver.limited.warn("commit", f"{error}; it is tried again")
            return False
        return True

    async def _save(self) -> None:
        """Save what is due; only one at a time, so that no older one comes later."""
        async with self._saving:
            positions, self._due = self._due, {}
            known, self._known = self._known, []
            if not positions and not known:
                return
            try:
                await self._threads.run(self._offsets.save, positions, known)
            except BaseException:
                self._due = positions | self._due
                self._known = self._known or known
                raise
            self._unsaved -= positions.keys()
