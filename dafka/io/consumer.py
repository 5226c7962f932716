"""A consumer as the user meets it: the shell of gevent around what consumers have in common."""

from __future__ import annotations

from collections.abc import Iterator

from dafka.core.run import Run
from dafka.io.green import GreenLife
from dafka.io.records import Position, Record, records_of
from dafka.io.shell import at_once
from dafka.io.taking import LOOK_EVERY, Taking


class Consumer(Taking, GreenLife):
    """Delivers the records of topics: each partition in order, once, without gaps.

    Iterate it, `poll` it, or take whole `runs`. Use it in the thread that starts it,
    which waits in gevent; `dafka.threads.Consumer` is for others.

    With a `name` it keeps its positions, and its next life goes on where it was: what was saved
    was handled, which is when the user has come back for the next record (or run), has left the
    `with` without an error, or has called `commit`.
    """

    def start(self) -> Consumer:
        """Open sockets and subscribe; returns at once, whether or not a tower is there.

        Raises `StoreError` if the positions cannot be used, or another process uses them.
        """
        at_once(self._start())
        return self

    def stop(self, timeout: float | None = None) -> None:
        """End the consumer; iterations end. Records not yet taken are not counted as taken.

        Saves the positions of a named consumer: of the records that its user has come back from.
        """
        at_once(self._stop(timeout))

    def poll(self, timeout: float | None = None) -> Record | None:
        """The next record, or None after `timeout` seconds (0: do not wait; None: for ever).

        None also when the consumer was stopped meanwhile.
        """
        if self._stopped:
            return None
        run, at = self._run, self._at
        if run is None or at >= len(run.contents) or not at % LOOK_EVERY:
            run = at_once(self._ready(timeout))
            if run is None:
                return None
            at = self._at
        self._at = at + 1
        return Record(run.topic, run.partition, run.first + at, run.contents[at])

    def __iter__(self) -> Iterator[Record]:
        """Records as they come, until the consumer is stopped."""
        while (run := at_once(self._ready(None))) is not None:
            begin = self._at
            end = begin - begin % LOOK_EVERY + LOOK_EVERY
            for at, record in enumerate(records_of(run, begin, end), begin + 1):
                self._at = at
                yield record
                if self._at != at or self._run is not run or self._stopped:
                    break  # something else was taken, or another place was sought

    def runs(self, timeout: float | None = None) -> Iterator[Run]:
        """Runs as they come: consecutive records of one partition, for those in a hurry.

        Ends when none has come for `timeout` seconds (None: never), or by `stop`.
        """
        while (run := at_once(self._take_run(timeout))) is not None:
            yield run

    def commit(self, up_to: Record | Run | Position | None = None, *, wait: bool = True) -> None:
        """Save that all records given so far were handled, or those of a partition `up_to` one.

        A `Position` is saved as it is: it names the record to begin with.

        They are on the disk when this returns; without `wait` that is done soon, together with
        others. Raises `StoreError` if they cannot be saved now: then that is tried again later.
        """
        at_once(self._commit(up_to, wait=wait))
