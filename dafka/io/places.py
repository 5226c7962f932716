"""Where a consumer is: positions, seeking, pausing, and saving how far its user has come."""

from __future__ import annotations

import time
from collections import deque
from datetime import datetime
from typing import Any

from dafka.beginning import instant
from dafka.core import consumer as core
from dafka.core.actions import Begin, Expire, Settled
from dafka.core.partition import Key
from dafka.core.run import Run
from dafka.errors import Closed, ConfigError
from dafka.io.commits import Commits
from dafka.io.driver import Driver
from dafka.io.life import Life
from dafka.io.records import Position, Record
from dafka.names import check_offset, check_partition, matches


class Places(Life):
    """Base of consumers: everything about positions."""

    topics: tuple[str, ...]
    patterns: tuple[str, ...]
    _machine: core.Consumer
    _commits: Commits | None = None
    _stopped = False

    def __init__(self) -> None:
        self._queue: deque[Run | Expire | Begin] = deque()
        """Delivered, and not yet given to the user."""
        self._run: Run | None = None
        """The run whose records are given one by one."""
        self._at = 0
        """How many of them were given."""
        self._sure = 0
        """How many of them were handled, as the user has said."""
        self._given: Run | None = None
        """A run that was given whole, and that the user has not come back from."""
        self._back = False
        """Whether the user has come back, and waits for more."""

    # Positions

    def position(self, partition: str | None = None) -> Any:
        """The offset of the next record `poll` gives, by partition: `{partition: offset}`.

        With a partition's name, its offset alone, or None if it is not known yet. A partition
        name is unique in a cluster, so topics need not be named.
        """
        positions = {name: at for (_, name), at in self._places().items()}
        return positions if partition is None else positions.get(partition)

    def behind(self) -> int:
        """Records known to exist that this consumer has not received yet."""
        return self._machine.behind()

    def seek(self, partition: str, offset: int, topic: str | None = None) -> None:
        """Continue a partition at `offset`, back or ahead, whether or not it is known yet.

        `topic` need only be given where the consumer has several and the partition is new.
        `ConfigError` if `only` leaves that partition out.
        """
        check_offset(offset, f"partition {partition}: offset")
        key = self._key(partition, topic)
        driver = self._open_driver()
        self._forget({key})
        if self._commits is not None:
            self._commits.note(key, offset)
        driver.perform(self._machine.seek(*key, offset, driver.now()))
        driver.wake()

    def seek_to_earliest(self) -> None:
        """Continue every partition at its first record; new ones begin there as well."""
        self._seek_all("earliest")

    def seek_to_latest(self) -> None:
        """Continue every partition behind the last record known; new ones begin at latest."""
        self._seek_all("latest")

    def seek_to_time(
        self, when: datetime, partition: str | None = None, topic: str | None = None
    ) -> None:
        """Continue every partition, or one, with the first record that arrived at `when` or later.

        By the clocks of the stores, which are asked; a moment later the position is known. Never
        later than that record, perhaps a bit earlier. A time without zone is local.
        """
        moment = instant(when)
        key = None if partition is None else self._key(partition, topic)
        driver = self._open_driver()
        self._forget(None if key is None else {key})
        driver.perform(self._machine.seek_time(moment, key, driver.now()))
        driver.wake()

    # Pausing

    def pause(self, *, topic: str | None = None, partition: str | None = None) -> None:
        """Give no records of a partition, of a topic, or of all, until they are resumed.

        Paused ones cost nothing, and catch up later. Of a whole topic, or all, partitions that
        are found later are paused too. The last call that is about a partition counts.
        `ConfigError` if `only` leaves out the partition that is named.
        """
        topic = self._about(topic, partition)
        driver = self._open_driver()
        at = {
            key: offset
            for key, offset in self._places().items()
            if topic in (None, key[0]) and partition in (None, key[1])
        }
        self._forget(set(at), pausing=True)
        driver.perform(self._machine.pause(topic, partition, at))

    def resume(self, *, topic: str | None = None, partition: str | None = None) -> None:
        """Go on where a partition, a topic, or all of them were paused."""
        topic = self._about(topic, partition)
        driver = self._open_driver()
        driver.perform(self._machine.resume(topic, partition, driver.now()))
        driver.wake()

    def paused(self) -> list[Position]:
        """Where the paused partitions stand, as far as they are known."""
        places = self._places()
        paused = sorted(self._machine.paused() & places.keys())
        return [Position(*key, places[key]) for key in paused]

    # Saving

    async def _commit(self, up_to: Record | Run | Position | None, *, wait: bool) -> None:
        if self._commits is None:
            raise ConfigError("this consumer has no name, so its positions are not saved: give one")
        self._open_driver()
        if up_to is None:
            self._note_given()
            await self._commits.commit(None, wait=wait)
            return
        if isinstance(up_to, Position):
            key, end = self._key(up_to.partition, up_to.topic), up_to.offset
        else:
            key = up_to.topic, up_to.partition
            end = up_to.next if isinstance(up_to, Run) else up_to.offset + 1
        if self._run is not None and _key(self._run) == key:
            self._sure = min(self._at, end - self._run.first)
        await self._commits.commit({key: end}, wait=wait)

    # For the consumer

    def _leave(self, kind: type[BaseException] | None) -> None:
        if kind is None and self.started and not self._stopped:
            self._note_given()

    async def _open_commits(self) -> None:
        """Take up the positions of an earlier life."""
        if self._commits is None:
            return
        saved = await self._commits.open(self.topics, self.patterns)
        self._machine.remember(saved.positions)
        self._subscriptions = saved.subscriptions

    def _subscribe(self, driver: Driver, now: float) -> None:
        earlier = self._subscriptions if self._commits is not None else {}
        for text, pattern in [(t, False) for t in self.topics] + [(p, True) for p in self.patterns]:
            known = earlier.get((text, pattern))
            since = None if known is None else now - max(0.0, time.time() - known.since)
            begin = self._machine.subscribe_pattern if pattern else self._machine.subscribe
            settled = known is not None and known.settled
            driver.perform(begin(text, now, since, settled=settled))

    def _settled(self, _: Settled) -> None:
        if self._commits is not None:
            self._commits.settled()

    def _came_back(self) -> None:
        """The user wants more: what was given was handled."""
        if self._commits is None:
            return
        if self._given is not None:
            self._commits.note(_key(self._given), self._given.next)
            self._given = None
        run = self._run
        if run is not None and self._at:
            self._commits.note(_key(run), run.first + self._at)
            if self._at >= len(run):
                self._run = None

    def _progress(self) -> bool:
        """Note how far the user has come by now; True while there may be more to note later."""
        commits, run = self._commits, self._run
        if commits is None:
            return False
        if self._given is not None and self._back:
            commits.note(_key(self._given), self._given.next)
            self._given = None
        if run is not None and self._at:
            handled = self._at if self._back else max(self._at - 1, self._sure)
            commits.note(_key(run), run.first + handled)
        return run is not None or self._given is not None

    def _note_given(self) -> None:
        """All that was given was handled, also what the user may still have in hand."""
        back, self._back = self._back, True
        self._progress()
        self._back, self._sure = back, self._at

    # Inside

    @property
    def _what(self) -> str:
        return f"topics {', '.join((*self.topics, *self.patterns))}"

    def _places(self) -> dict[Key, int]:
        places = dict(self._machine.partitions())
        for item in reversed(self._queue):
            if not isinstance(item, Begin):
                places[item.topic, item.partition] = item.first
        if self._run is not None and self._at < len(self._run):
            places[_key(self._run)] = self._run.first + self._at
        return places

    def _key(self, partition: str, topic: str | None) -> Key:
        """The partition that is meant; `ConfigError` if that is not clear."""
        check_partition(partition)
        known = [name for name, part in self._machine.known() if part == partition]
        single = len(self.topics) == 1 and not self.patterns
        if topic is None and not known and not single:
            raise ConfigError(f"partition {partition} is not known yet: name its topic")
        name = topic or (known or list(self.topics))[0]
        self._check_wanted(name)
        if name not in known and not self._machine.wants(name, partition):
            raise ConfigError(
                f"topic {name} partition {partition} is not one of those that `only` of this "
                "consumer lets in"
            )
        return name, partition

    def _about(self, topic: str | None, partition: str | None) -> str | None:
        if partition is not None:
            return self._key(partition, topic)[0]
        if topic is not None:
            self._check_wanted(topic)
        return topic

    def _check_wanted(self, topic: str) -> None:
        if topic not in self.topics and not any(matches(one, topic) for one in self.patterns):
            raise ConfigError(f"topic {topic!r} is not one of this consumer's topics")

    def _seek_all(self, start: str) -> None:
        driver = self._open_driver()
        self._forget(None)
        driver.perform(self._machine.seek_all(start, driver.now()))
        if self._commits is not None:
            for key, offset in self._machine.partitions().items():
                self._commits.note(key, offset)
        driver.wake()

    def _open_driver(self) -> Driver:
        if self._stopped or not self.driver.running:
            self.check_alive()
            raise Closed(f"{self._what}: this consumer is not running")
        self.driver.check_thread()
        return self.driver

    def _forget(self, keys: set[Key] | None, *, pausing: bool = False) -> None:
        """Throw away what is queued of some partitions, or of all.

        For a pause, what is in the user's hand still counts as handled when he comes back.
        """
        gone: list[Run] = []
        kept: deque[Run | Expire | Begin] = deque()
        for item in self._queue:
            if isinstance(item, Begin) or not (keys is None or _key(item) in keys):
                kept.append(item)
            elif isinstance(item, Run):
                gone.append(item)
        self._queue = kept
        self._machine.forgotten(gone)
        run, given = self._run, self._given
        if run is not None and (keys is None or _key(run) in keys):
            self._run = None
            if pausing and self._at:
                self._given = run.until(run.first + self._at)
        if not pausing and given is not None and (keys is None or _key(given) in keys):
            self._given = None


def _key(item: Run | Expire) -> Key:
    return item.topic, item.partition
