"""Single machines live through anything: each step is checked by the shells of `support`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from traceback import extract_tb
from typing import Any

from support.machine_shells import (
    ConsumerShell,
    ProducerShell,
    ReaderShell,
    Shell,
    Step,
    WriterShell,
)
from support.machines import (
    CONSUMER,
    ENDPOINT,
    OTHER_CONSUMER,
    OTHER_ENDPOINT,
    OTHER_PRODUCER,
    OTHER_READER,
    PRODUCER,
    READER,
    TOPIC,
    WRITER,
    run,
)

from dafka.core.packed import Packed
from dafka.core.run import Arrival, Origin
from protocol import (
    DirectOffset,
    DirectRecord,
    DirectRecords,
    Message,
    Record,
    Records,
    RemoteProtocolError,
    parse,
    subscription,
)
from protocol.fuzz import Fuzzer
from protocol.grammar import KINDS
from tests.fuzz.tally import Found, Tally

STEPS = 100
"""Steps in one life of a machine."""

_NODES = (PRODUCER, OTHER_PRODUCER, WRITER, READER, OTHER_READER, CONSUMER, OTHER_CONSUMER)
_TOPICS = (TOPIC, "flights2", "")
_BEYOND = 2**64 - 8
_THEN = datetime.fromtimestamp(0.005, UTC)
_PAUSES = (0.0, 0.001, 0.01, 0.5, 3.0, 100.0, -1.0)


class Life:
    """The steps of one life of one machine, drawn by chance from its number."""

    def __init__(self, seed: int, number: int) -> None:
        self.fuzzer = Fuzzer(hash((seed, number)), addresses=_NODES, topics=_TOPICS)
        self.random = self.fuzzer.random
        self._at: dict[tuple[str, str], int] = {}
        roles = (self._consumer, self._writer, self._reader, self._producer)
        self.new_shell: Callable[[], Shell]
        self._own: tuple[Callable[[], Step], ...]
        self.new_shell, self._own = roles[number % len(roles)]()

    def steps(self) -> list[Step]:
        """All steps of this life."""
        common = (self._message,) * 5 + (self._run,) * 3
        rare = (self._peer, self._peer, self._subscription, self._pause)
        own = self._own * (4 // len(self._own))
        return [self.random.choice((*common, *rare, *own))() for _ in range(STEPS)]

    # What happens to every machine

    def _message(self) -> Step:
        while True:
            try:
                message: Message = parse(self.fuzzer.frames())
            except RemoteProtocolError:
                continue
            if not isinstance(message, Record | DirectRecord | Records | DirectRecords):
                return "message", (message, self._origin())

    def _run(self) -> Step:
        """Mostly the next records of a partition: else little would ever be taken."""
        topic = TOPIC if self.random.random() < 0.9 else self.random.choice(_TOPICS)
        name = self.random.choice(_NODES[:2])
        at = self._at.get((topic, name), 0)
        near = max(0, at - self.random.randrange(4))
        first = self.random.choice((at, at, at, at, near, near, self._small(), 250, _BEYOND))
        arrived = run(first, first + self._length(), topic, name)
        if self.random.random() < 0.5:
            arrived = replace(arrived, contents=Packed.of(arrived.contents))
        if first <= at < arrived.next:
            self._at[topic, name] = arrived.next
        return "message", (Arrival(arrived, self._origin()), Origin.LIVE)

    def _peer(self) -> Step:
        event = self.random.choice(("peer_found", "peer_found", "peer_lost"))
        return event, (self._node(), self.random.choice((ENDPOINT, OTHER_ENDPOINT)))

    def _subscription(self) -> Step:
        kind = self.random.choice(KINDS).message
        prefix = subscription(kind, self.random.choice((*_NODES, *_TOPICS)))
        event = self.random.choice(("subscribed", "subscribed", "unsubscribed"))
        return event, (prefix + self.random.choice((b"", b"\0", b"\xff")),)

    def _pause(self) -> Step:
        return "pass_time", (self.random.choice(_PAUSES),)

    # What happens to one kind of them

    def _consumer(self) -> tuple[Callable[[], Shell], tuple[Callable[[], Step], ...]]:
        starts: tuple[Any, ...] = ("earliest", "latest", 5, {PRODUCER: 3}, _THEN)
        start = self.random.choice(starts)
        return lambda: ConsumerShell(start), (
            lambda: ("take", ()),
            lambda: ("take", ()),
            lambda: ("seek", (self.random.choice(_NODES[:2]), self._small())),
            lambda: ("seek_all", (self.random.choice(("earliest", "latest")),)),
            lambda: ("seek_time", (self._small(),)),
            lambda: ("pause", (self.random.choice(_NODES[:2]),)),
            lambda: ("resume", (self.random.choice(_NODES[:2]),)),
            lambda: ("message", (self._where(), Origin.STORE)),
        )

    def _where(self) -> DirectOffset:
        partition, store = self.random.choice(_NODES[:2]), self.random.choice(_NODES)
        return DirectOffset(CONSUMER, partition, TOPIC, self._small(), self._small(), store)

    def _writer(self) -> tuple[Callable[[], Shell], tuple[Callable[[], Step], ...]]:
        return WriterShell, (lambda: ("commit", ()),)

    def _reader(self) -> tuple[Callable[[], Shell], tuple[Callable[[], Step], ...]]:
        return ReaderShell, (
            lambda: ("read", (self.random.randrange(10),)),
            lambda: ("read", (self.random.randrange(10),)),
            lambda: ("locate", (self.random.choice((None, self._small())),)),
            lambda: ("grow", (self.random.randint(1, 5),)),
            lambda: ("block", (self._small(), self._length(), self._length(), self._node())),
        )

    def _producer(self) -> tuple[Callable[[], Shell], tuple[Callable[[], Step], ...]]:
        return ProducerShell, (lambda: ("publish", (self.random.randint(1, 9),)),)

    def _origin(self) -> Origin:
        return self.random.choice(list(Origin))

    def _node(self) -> str:
        return self.random.choice(_NODES)

    def _small(self) -> int:
        return self.random.randrange(31)

    def _length(self) -> int:
        return self.random.randint(1, 8)


def fuzz_machines(inputs: int, seed: int, only: int | None = None) -> Tally:
    """Let machines live through so many steps, or through life `only`; raises `Found`."""
    tally = Tally("machines")
    lives = range(-(-inputs // STEPS)) if only is None else [only]
    for number in tally.counted(len(lives) * STEPS):
        if number % STEPS:
            continue
        life = Life(seed, lives[number // STEPS])
        steps = life.steps()
        error = _failure(life, steps)
        if error is not None:
            raise Found(_told(life, steps, error, seed, lives[number // STEPS])) from error
        tally.outcomes["lives"] += 1
    return tally


def _failure(life: Life, steps: list[Step]) -> Exception | None:
    """How these steps end badly, if they do."""
    try:
        life.new_shell().live(steps)
    except Exception as error:
        return error
    return None


def _shrunk(life: Life, steps: list[Step], error: Exception) -> list[Step]:
    """The same without the steps that are not needed for the same kind of failure."""
    size = len(steps) // 2
    while size:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if type(_failure(life, fewer)) is type(error):
                steps = fewer
            else:
                at += size
        size //= 2
    return steps


def _told(life: Life, steps: list[Step], error: Exception, seed: int, number: int) -> str:
    shell = type(life.new_shell()).__name__.removesuffix("Shell").lower()
    few = _shrunk(life, steps, error)
    again = _failure(life, few)
    assert again is not None
    last = extract_tb(again.__traceback__)[-1]
    lines = [f"    {name}({', '.join(map(repr, arguments))})" for name, arguments in few]
    return "\n".join(
        (
            f"{shell} machine: {type(again).__name__}: {again}",
            f"  at {last.filename}:{last.lineno}: {last.line}",
            "  after these steps:",
            *lines,
            f"  again: scripts/fuzz machines --seed {seed} --life {number}",
        )
    )
