"""A producer's records on disk until enough stores have them: they survive the producer's death.

Records are put, made durable, then taken to be sent: nobody sees a record that a crash could
replace by another one. What an earlier life left is loaded bit by bit. Decides nothing about
acknowledgements: the producer tells how far they are, and what lies before is dropped.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from time import monotonic

from dafka.config import ProducerConfig
from dafka.core.run import RECORD_COST, Run
from dafka.errors import StoreError
from dafka.io.driver import Driver
from dafka.io.life import node_logger
from dafka.io.log import Damaged, Log, Moved
from dafka.io.outbox_identity import identify
from dafka.io.refusals import records
from dafka.io.shell import Job, Shell

TAKE_RECORDS = 256
"""Most records that are taken at once; others have their turn in between."""

_COMMIT_BYTES = 32 * 1024 * 1024
_LOAD_BYTES = 1024 * 1024
_DROP_PAUSE_S = 1.0
"""What is acknowledged is dropped this often: each time is a commit, which new records wait for."""
_CLOSE_S = 0.5
_RETRY_S = 0.2
_RETRY_MAX_S = 5.0

logger = node_logger("outbox")


class Outbox:
    """One partition's records on their way through a directory; one job works at the disk."""

    def __init__(self, topic: str, config: ProducerConfig, shell: Shell) -> None:
        """Opens nothing. What is loaded and what was sent stay within `buffer_bytes` together."""
        self.partition = ""
        self.first = 0
        """The first record kept when it was opened; those before it are acknowledged."""
        self.saved = 0
        """The records before this offset are durable."""
        self.end = 0
        """The records before this offset are durable, or were put."""
        self.trouble = ""
        """Why the disk can be neither written nor read at this moment."""
        self.waiting_bytes = 0
        """What was put, or loaded, and not yet taken, its keeping included."""
        self._topic = topic
        self._buffer_bytes = config.buffer_bytes
        self._log = Log(config.outbox, durability=config.outbox_durability)
        self._unsaved: deque[list[bytes]] = deque()
        self._ready: deque[Run] = deque()
        self._loaded = self._load_end = 0
        self._large = 0
        self._acked = self._dropped = self._unacked_bytes = 0
        self._drop_at = 0.0
        self._shell = shell
        self._more, self._ending = shell.signal(), shell.signal()
        self._worker: Job | None = None

    @property
    def directory(self) -> Path:
        """Where the records are."""
        return self._log.directory

    @property
    def loading(self) -> bool:
        """Whether an earlier life's records are still on disk only; nothing can be put before."""
        return max(self._loaded, self._acked) < self._load_end

    # Life

    async def open(self, fresh: str) -> None:
        """Open the directory, and load as much as has room; a new outbox gets this partition.

        Raises `StoreError` if the directory is unusable or in use, `ConfigError` if it belongs to
        another topic.
        """
        self._threads = self._shell.pool(1)
        try:
            await self._threads.run(self._open, fresh)
        except BaseException:
            await self.close()
            raise
        try:
            while await self._load():
                pass
        except StoreError:
            pass  # the worker meets it again, tells it and goes on trying

    def _open(self, fresh: str) -> None:
        self._log.open()
        self.partition = identify(
            self.directory, self._topic, fresh, extents=self._log.partitions()
        )
        extent = self._log.extent(self._topic, self.partition)
        if extent is not None:
            self.first = extent.earliest
            self.saved = self.end = extent.next
        self._loaded = self._acked = self._dropped = self.first
        self._load_end = self.saved

    def start(self, driver: Driver) -> None:
        """Work at the disk, and wake the producer's loop when there is something to take."""
        self._driver = driver
        self._worker = self._shell.spawn("outbox", self._work)
        self._more.set()

    async def stop(self, timeout: float) -> None:
        """Save what was put, and drop what is acknowledged; says so if something is lost."""
        self._ending.set()
        self._more.set()
        if self._worker is not None:
            await self._worker.join(timeout)
            self._worker.kill()
        lost = sum(map(len, self._unsaved))
        if lost:
            logger.error(
                "outbox lost %s of topic %s from offset %d on: %s",
                records(lost),
                self._topic,
                self.saved,
                self.trouble or f"{self.directory}: the disk takes longer than {timeout} s",
            )

    async def close(self) -> None:
        """Let go of the directory: at once, or as soon as another program lets go of it."""
        if not await self._shell.within(_CLOSE_S, self._log.close):
            logger.warning("outbox not closed yet directory=%s", self.directory)
        await self._threads.close()

    # What the producer does

    def put(self, contents: list[bytes]) -> None:
        """Take over the next records: they can be taken as soon as they are durable."""
        self.waiting_bytes += _cost(contents)
        end = self.end + len(contents)
        # Without a call in between: an interrupt comes before both, or after them.
        self.end = end
        self._unsaved.append(contents)
        self._more.set()

    def take(self, offset: int) -> Run | None:
        """The next records to send, from `offset` on; those before it need not be sent any more."""
        while self._ready:
            run = self._ready.popleft()
            self.waiting_bytes -= run.cost
            run = run.since(offset)
            if run.contents:
                return run
        return None

    def progress(self, acked: int, unacked_bytes: int) -> None:
        """The records before `acked` are acknowledged, and the others held cost so much."""
        self._unacked_bytes = unacked_bytes
        if acked > self._acked:
            self._acked = acked
            self._more.set()

    # The worker

    async def _work(self) -> None:
        driver = self._driver
        try:
            pause = _RETRY_S
            while not self._ending.is_set():
                await self._more.wait(self._until_drop())
                self._more.clear()
                if not await self._turn():
                    pause = _RETRY_S
                    continue
                driver.limited.warn("outbox", f"{self.trouble}; it is tried again")
                driver.wake()
                await self._ending.wait(pause)
                self._more.set()
                pause = min(2 * pause, _RETRY_MAX_S)
            self._drop_at = 0.0
            while not await self._turn() and self._more.is_set():
                self._more.clear()
        except Exception as error:
            self.trouble = "the outbox had failed before, as told above"
            driver.fail(error)

    async def _turn(self) -> str:
        """A bit of everything that is to be done; returns what went wrong, if anything did."""
        trouble = ""
        for step in (self._save, self._load, self._drop):
            try:
                if await step():
                    self._more.set()
            except Damaged as error:
                trouble = (
                    f"{error}; no store has acknowledged them. Give another outbox, and publish "
                    f"again from offset {error.first} on"
                )
            except Moved:
                raise
            except StoreError as error:
                trouble = str(error)
        if trouble:
            self.trouble = f"outbox {self.directory}: {trouble}"
        elif self.trouble:
            self.trouble = ""
            logger.warning("outbox can be used again directory=%s", self.directory)
            self._driver.wake()
        return trouble

    async def _save(self) -> bool:
        """Group commit: everything that was put while the last commit ran is the next one."""
        contents: list[bytes] = []
        size = count = 0
        for some in self._unsaved:
            contents += some
            count += 1
            size += sum(map(len, some))
            if size >= _COMMIT_BYTES:
                break
        if not contents:
            return False
        run = Run(self._topic, self.partition, self.saved, contents)
        await self._threads.run(self._log.append, [run])
        for _ in range(count):
            self._unsaved.popleft()
        self.saved = run.next
        self._hand_over(run)
        return bool(self._unsaved)

    async def _load(self) -> bool:
        """Read what an earlier life left, as far as the buffer has room; True if there is more."""
        if not self.loading or self._ending.is_set():
            return False
        start = max(self._loaded, self._acked)
        held = self._unacked_bytes + self.waiting_bytes
        room = self._buffer_bytes - held
        if held and room < max(self._buffer_bytes // 4, self._large):
            return False
        half = max(RECORD_COST, min(room // 2, _LOAD_BYTES))
        records = min(half // RECORD_COST, self._load_end - start)
        run = await self._threads.run(
            self._log.read,
            self._topic,
            self.partition,
            start,
            max_records=records,
            max_bytes=half,
        )
        if run is None:
            raise StoreError(f"the record at offset {start} of {self.partition} is missing")
        self._large = run.cost if held and run.cost > room else 0
        if self._large:
            return False
        self._loaded = run.next
        self._hand_over(run)
        self.waiting_bytes += run.cost
        return self.loading

    def _hand_over(self, run: Run) -> None:
        for at in range(0, len(run), TAKE_RECORDS):
            contents = run.contents[at : at + TAKE_RECORDS]
            self._ready.append(Run(run.topic, run.partition, run.first + at, contents))
        if self._worker is not None:
            self._driver.wake()

    def _until_drop(self) -> float | None:
        return None if self._acked <= self._dropped else max(0.0, self._drop_at - monotonic())

    async def _drop(self) -> bool:
        """Forget what is acknowledged, many records at a time; True if there is more to forget."""
        acked = self._acked
        if acked <= self._dropped or monotonic() < self._drop_at:
            return False
        if await self._threads.run(self._log.drop, self._topic, self.partition, acked):
            return True
        self._dropped = acked
        self._drop_at = monotonic() + _DROP_PAUSE_S
        return False


def _cost(contents: list[bytes]) -> int:
    return sum(map(len, contents)) + RECORD_COST * len(contents)
