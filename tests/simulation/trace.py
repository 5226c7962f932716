"""What was said and what happened, for a chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dafka.core.run import Origin, Run
from protocol import (
    Ack,
    ConsumerHello,
    DirectHead,
    DirectRecord,
    Fetch,
    GetHeads,
    Head,
    Message,
    Record,
    StoreHello,
)
from simulation.links import Connection, Frames, join

if TYPE_CHECKING:
    from simulation.nodes import Node
    from simulation.world import World


@dataclass(frozen=True)
class Said:
    """A message on its way."""

    at: float
    speaker: str
    listeners: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Happened:
    """Something that befell somebody."""

    at: float
    who: str
    text: str


class Trace:
    """Everything in the order in which it happened."""

    world: World

    def __init__(self) -> None:
        self.entries: list[Said | Happened] = []
        self._partitions: dict[str, str] = {}

    def said(self, speaker: Node, audience: list[Connection], messages: list[Frames]) -> None:
        """A node said something to whoever listened."""
        items, _ = join(messages, Origin.LIVE)
        listeners = tuple(dict.fromkeys(name(c.listener) for c in audience))
        kind = {b"D": "DIRECT-RECORD", b"J": "DIRECT-RECORDS", b"R": "RECORDS"}.get(
            messages[0][0][:1], "RECORD"
        )
        for item, _ in items:
            text = f"{kind} {self.span(item.run)}" if hasattr(item, "run") else self.text(item)
            self.entries.append(Said(self.world.now, name(speaker), listeners, text))

    def noted(self, who: Any, text: str) -> None:
        """Something happened to a node or a process, or (None) to all."""
        self.entries.append(Happened(self.world.now, name(who), text))

    def partition(self, address: str) -> str:
        """A short name for a partition."""
        return self._partitions.setdefault(address, f"p{len(self._partitions) + 1}")

    def span(self, run: Run) -> str:
        """A run in short."""
        last = f"-{run.next - 1}" if len(run) > 1 else ""
        return f"{self.partition(run.partition)}:{run.first}{last}"

    def text(self, message: Message) -> str:
        """A message in short."""
        match message:
            case Fetch():
                last = message.sequence + message.count - 1
                asked = " of one store" if message.store else ""
                return f"FETCH {self.partition(message.topic)}:{message.sequence}-{last}{asked}"
            case Ack():
                return f"ACK {self.partition(message.topic)}:{message.sequence}"
            case Head():
                return f"HEAD {self.partition(message.address)}:{message.sequence}"
            case DirectHead():
                return f"DIRECT-HEAD {self.partition(message.address)}:{message.sequence}"
            case GetHeads():
                return f"GET-HEADS {message.topic or 'all'}"
            case ConsumerHello():
                return "CONSUMER-HELLO"
            case StoreHello():
                return "STORE-HELLO"
            case Record() | DirectRecord():
                return f"RECORD {self.partition(message.address)}:{message.sequence}"
            case _:
                return type(message).__name__


def name(who: Any) -> str:
    """How a node or a process is called in a chart; None stands for the whole world."""
    if who is None:
        return ""
    process = getattr(who, "process", who)
    part = {"StoreReader": " reader", "_CReader": " reader"}
    return process.name + part.get(type(getattr(who, "machine", None)).__name__, "")
