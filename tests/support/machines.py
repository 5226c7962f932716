"""What tests of single machines share: addresses, runs, and views of lists of actions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from dafka.core.actions import Action, Append, Deliver, Send, SendDirect
from dafka.core.run import Arrival, Origin, Run
from protocol import Fetch

TOPIC = "flights"


def address(number: int) -> str:
    """An address as nodes choose them."""
    return f"{number:032X}"


PRODUCER, OTHER_PRODUCER = address(0xA), address(0xA2)
WRITER, READER = address(0x51), address(0x52)
OTHER_WRITER, OTHER_READER = address(0x61), address(0x62)
CONSUMER, OTHER_CONSUMER = address(0xC), address(0xC2)
DIRECT = address(0xD)
"""Under which only stores are heard."""
ENDPOINT = "tcp://192.0.2.2:5000"
OTHER_ENDPOINT = "tcp://192.0.2.3:5000"


def content(offset: int) -> bytes:
    """What the record with this offset says, in all tests."""
    return b"record %d" % offset


def run(first: int, end: int, topic: str = TOPIC, partition: str = PRODUCER) -> Run:
    """The records [first, end) of a partition."""
    return Run(topic, partition, first, [content(offset) for offset in range(first, end)])


def live(first: int, end: int, topic: str = TOPIC, partition: str = PRODUCER) -> Arrival:
    """Records as their producer publishes them."""
    return Arrival(run(first, end, topic, partition), Origin.LIVE)


def stored(first: int, end: int, topic: str = TOPIC, partition: str = PRODUCER) -> Arrival:
    """Records that a known store sent again."""
    return Arrival(run(first, end, topic, partition), Origin.STORE)


def direct(first: int, end: int, topic: str = TOPIC, partition: str = PRODUCER) -> Arrival:
    """Records that somebody sent again, perhaps the producer."""
    return Arrival(run(first, end, topic, partition), Origin.PEER)


Kind = TypeVar("Kind")


def only(actions: Iterable[Any], kind: type[Kind]) -> list[Kind]:
    """The actions of one kind."""
    return [action for action in actions if isinstance(action, kind)]


def sent(actions: Iterable[Action], kind: type[Kind]) -> list[Kind]:
    """The messages of one kind that are to be sent."""
    return [a.message for a in actions if isinstance(a, Send) and isinstance(a.message, kind)]


def offsets(actions: Iterable[Action]) -> list[int]:
    """The offsets delivered, appended or sent directly, in order; their contents must be right."""
    found: list[int] = []
    for action in only(actions, Deliver) + only(actions, Append) + only(actions, SendDirect):
        here = range(action.run.first, action.run.next)
        assert action.run.contents == [content(offset) for offset in here]
        found += here
    return found


def asked(actions: Iterable[Action]) -> list[tuple[int, int]]:
    """The ranges [first, end) that are asked for."""
    return [(f.sequence, f.sequence + f.count) for f in sent(actions, Fetch)]
