"""A consumer that any thread may use: whole runs are handed to the threads that take records."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from threading import current_thread, get_ident
from typing import Any

from dafka.config import ConsumerConfig
from dafka.core.actions import Begin, Expire
from dafka.core.partition import Key
from dafka.core.run import Run
from dafka.errors import RecordsExpired
from dafka.io import consumer as io
from dafka.io.driver import Driver
from dafka.io.records import Position, Record
from dafka.io.shell import at_once
from dafka.threads.hands import Hands
from dafka.threads.places import Places
from dafka.validity import check_timeout


class _Node(io.Consumer):
    """A consumer whose queue others take from; what they have in hand is looked up there."""

    shell: Consumer

    async def _open_node(self) -> Driver:
        driver = await super()._open_node()
        driver.add_source(self.shell._turned)
        return driver

    @property
    def full(self) -> bool:
        """Whether nothing more is read until runs are taken."""
        return self._machine.full

    def take_back(self, runs: deque[Run]) -> bool:
        """These runs were taken; whether that has made room."""
        was_full, now = self._machine.full, self.driver.now()
        while runs:
            self.driver.perform(self._machine.taken(runs.popleft(), now))
        if self._commits is not None:
            self._commits.look()
        return was_full and not self._machine.full

    def is_open(self, key: Key) -> bool:
        """Whether it must be saved where a partition begins, before a record of it is given."""
        return self._commits is not None and self._commits.is_open(key)

    def settle(self, key: Key) -> None:
        """Save it, if the disk lets it."""
        if self._commits is not None:
            at_once(self._commits.settle(key))

    def expired(self, key: Key, end: int) -> None:
        """The user has been told what is missing before `end`."""
        if self._commits is not None:
            self._commits.note(key, end)

    def _progress(self) -> bool:
        if self._commits is None:
            return False
        handled, more = self.shell._handled()
        for key, offset in handled.items():
            self._commits.note(key, offset)
        return more

    def _note_given(self) -> None:
        self._progress()

    def _forget(self, keys: set[Key] | None, *, pausing: bool = False) -> None:
        self.shell._forget(keys, pausing=pausing)
        super()._forget(keys, pausing=pausing)
        self._given = None


class Consumer(Places[_Node]):
    """Delivers the records of topics, as `dafka.Consumer` does: in order, once, without gaps.

    Any thread may use it, several at once: each record is given to exactly one of them. Those of a
    partition are given in order, but threads may work on neighbours at the same time: what has to
    be handled in order is for one thread.

    With a `name` it keeps its positions: of the records before the first one that a thread still
    has in hand. A thread has handled what it was given when it comes back for more, or calls
    `commit`.
    """

    _kind = "consumer"

    def __init__(
        self,
        *topics: str | Iterable[str],
        pattern: str | Iterable[str] = (),
        config: ConsumerConfig | None = None,
        on_expired: Callable[[RecordsExpired], object] | None = None,
        on_partition: Callable[[Position], object] | None = None,
        only: Callable[[str, str], bool] | None = None,
        **settings: Any,
    ) -> None:
        """Opens nothing; takes what `dafka.Consumer` takes.

        `on_expired` and `on_partition` are called in a thread that takes records; no other one is
        given any until they have returned.
        """
        node = _Node(
            *topics,
            pattern=pattern,
            config=config,
            on_expired=on_expired,
            on_partition=on_partition,
            only=only,
            **settings,
        )
        node.shell = self
        super().__init__(node)
        self.topics, self.patterns, self.config = node.topics, node.patterns, node.config
        self.address = node.address
        self._hands = Hands() if self.config.name else None
        self._taken: deque[Run] = deque()
        self._telling: int | None = None
        """The thread that calls its user, or sees to what must be done before others go on."""

    def stop(self, timeout: float | None = None) -> None:
        """End the consumer; iterations end. Records not yet taken are not counted as taken.

        Saves the positions of a named consumer: of the records that threads have come back from.
        """
        if self._done:
            return
        timeout = check_timeout(timeout)
        with self._lock:
            self._stopped = True
            self._changed.notify_all()
        self._leave(lambda: self._node.stop(timeout))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None and self._hands is not None and not self._stopped:
            with self._lock:
                self._hands.all_back()
        super().__exit__(kind, error, trace)

    # Taking records

    def poll(self, timeout: float | None = None) -> Record | None:
        """The next record, or None after `timeout` seconds (0: do not wait; None: for ever).

        None also when the consumer was stopped meanwhile.
        """
        with self._lock:
            node = self._node
            run = node._run
            if run is None or node._at >= len(run.contents) or self._stopped:
                run = self._obtain(timeout, whole=False)
                if run is None:
                    return None
            at = node._at
            node._at = at + 1
            if self._hands is not None:
                self._hands.hold(current_thread(), run, at)
        return Record(run.topic, run.partition, run.first + at, run.contents[at])

    def __iter__(self) -> Iterator[Record]:
        """Records as they come, until the consumer is stopped."""
        while (record := self.poll()) is not None:
            yield record

    def runs(self, timeout: float | None = None) -> Iterator[Run]:
        """Runs as they come: consecutive records of one partition, for those in a hurry.

        Ends when none has come for `timeout` seconds (None: never), or by `stop`.
        """
        while True:
            with self._lock:
                run = self._obtain(timeout, whole=True)
            if run is None:
                return
            yield run

    def forked(self) -> None:
        """In the child nothing may be given that the parent gives as well."""
        super().forked()
        self._node._run = None
        self._node._queue.clear()

    # In the background thread

    def _turned(self, _: float) -> bool:
        """In every turn of the loop: who waits is told, and what was taken makes room."""
        with self._lock:
            self._told = self._over.is_set()
            if self._waiting and self._node._queue:
                self._changed.notify_all()
        return bool(self._taken) and self._node.take_back(self._taken)

    def _handled(self) -> tuple[dict[Key, int], bool]:
        """How far records were handled, where that has changed; and whether more will come."""
        with self._lock:
            hands, node = self._hands, self._node
            if hands is None:
                return {}, False
            self._note_run()
            self._lose()
            run = node._run
            unfinished = run is not None and node._at < len(run)
            return hands.handled(), hands.any or unfinished

    def _forget(self, keys: set[Key] | None, *, pausing: bool) -> None:
        """Only with the lock."""
        if pausing:
            self._note_run()
        elif self._hands is not None:
            self._hands.forget(keys)

    # Inside, with the lock

    def _obtain(self, timeout: float | None, *, whole: bool) -> Run | None:
        """The run to give records from, when it is there; or what is left of it for one thread."""
        node, hands = self._node, self._hands
        until = self._until(timeout)
        if hands is not None:
            hands.back(current_thread())
        while not self._stopped:
            run = node._run
            if run is not None and node._at < len(run):
                return self._give(run.since(run.first + node._at)) if whole else run
            item = node._queue[0] if node._queue and self._may_tell() else None
            if item is None:
                if not self._wait_for_more(until):
                    break
            elif isinstance(item, Run) and not node.is_open((item.topic, item.partition)):
                return self._next(whole=whole)
            else:
                self._deal_with(item)
        return None

    def _next(self, *, whole: bool) -> Run:
        """Take the first run of the queue."""
        node, hands = self._node, self._hands
        run = node._queue.popleft()
        assert isinstance(run, Run)
        self._taken.append(run)
        if hands is not None or node.full:
            self._wake()
        run = run.listed()
        if whole:
            return self._give(run)
        self._note_run()
        node._run, node._at = run, 0
        return run

    def _give(self, run: Run) -> Run:
        """All of a run is for one thread."""
        self._note_run()
        self._node._run = None
        if self._hands is not None:
            self._hands.gave((run.topic, run.partition), run.next)
            self._hands.hold(current_thread(), run, 0)
        return run

    def _note_run(self) -> None:
        """Note how far the run has been given from which records are given one by one."""
        run, at = self._node._run, self._node._at
        if self._hands is not None and run is not None and at:
            self._hands.gave((run.topic, run.partition), run.first + at)

    def _may_tell(self) -> bool:
        return self._telling is None or self._telling == get_ident()

    def _wait_for_more(self, until: float | None) -> bool:
        if self._over.is_set() or not self.started:
            self.check_alive()
            self._check_started()
            return False
        return self._wait_changed(until)

    def _deal_with(self, item: Run | Expire | Begin) -> None:
        """See to what comes before the next record, without the lock; no other thread goes on."""
        before, self._telling = self._telling, get_ident()
        if not isinstance(item, Run):
            self._node._queue.popleft()
        try:
            self._lock.release()
            self._tell(item)
        finally:
            self._lock.acquire()
            self._telling = before
            self._changed.notify_all()

    def _tell(self, item: Run | Expire | Begin) -> None:
        node, key = self._node, (item.topic, item.partition)
        if isinstance(item, Run):
            self._there(lambda: node.settle(key))
        elif isinstance(item, Expire):
            node._on_expired(RecordsExpired(*key, item.first, item.end))
            self._there(lambda: node.expired(key, item.end))
        elif node._on_partition is not None:
            node._on_partition(Position(*key, item.offset))
