"""What a machine may ask its shell to do. Shells execute a returned list in order.

Nothing here does anything; see `dafka.io` for the executing side.
"""

from __future__ import annotations

from dataclasses import dataclass

from dafka.core.run import Run
from protocol import Message, NodeBeacon, TowerBeacon


@dataclass(frozen=True, slots=True)
class Send:
    """Send one message on the node's own publishing socket."""

    message: Message


@dataclass(frozen=True, slots=True)
class SendRun:
    """Publish a run to everybody, as RECORDs or RECORDS, whatever who listens has asked for."""

    run: Run


@dataclass(frozen=True, slots=True)
class SendDirect:
    """Send a run to one requester, as DIRECT-RECORDs, or with `runs` as DIRECT-RECORDS.

    A shell that cannot send all of it now reports where it stopped to the machine's `blocked`.
    """

    requester: str
    run: Run
    runs: bool = False


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Let messages that begin with `prefix` in, from every peer.

    Or, if `runs` is given, only from those that publish RECORDS, or that do not.
    """

    prefix: bytes
    runs: bool | None = None


@dataclass(frozen=True, slots=True)
class Connect:
    """Listen to a peer that has been introduced; `born` is when it started, if it said so.

    `runs` is where it publishes RECORDS in place of RECORD, if it does.
    """

    address: str
    endpoint: str
    born: float | None = None
    runs: str | None = None


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Stop listening to a peer that has fallen silent."""

    address: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class ConnectStore:
    """Listen to a store's direct answers, on the socket that only stores are connected to."""

    endpoint: str


@dataclass(frozen=True, slots=True)
class DisconnectStore:
    """Undo a `ConnectStore`."""

    endpoint: str


@dataclass(frozen=True, slots=True)
class SendBeacon:
    """Tell every tower that this node is alive."""

    message: NodeBeacon


@dataclass(frozen=True, slots=True)
class ReachTowers:
    """Connect to every tower anew."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Introduce a node to all others (a tower's only action)."""

    message: TowerBeacon


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand a run, the next of its partition, to the user."""

    run: Run


@dataclass(frozen=True, slots=True)
class Begin:
    """A partition's delivery begins at an offset; `found`: it is one that was just found."""

    topic: str
    partition: str
    offset: int
    found: bool = True


@dataclass(frozen=True, slots=True)
class Expire:
    """Tell the user that the records [first, end) are kept nowhere any more."""

    topic: str
    partition: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Append:
    """Write a run, the next of its partition, to the log; report with `committed`."""

    run: Run


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget what the log has of a partition before `before`; report with `dropped`.

    The partition goes on at `before` if it has not come so far. `deleted`: for good, because an
    operator wanted it; other stores are told.
    """

    topic: str
    partition: str
    before: int
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Repair:
    """Replace damaged records of the log by this run; report with `repaired`."""

    run: Run


@dataclass(frozen=True, slots=True)
class Read:
    """Read a slice of a partition from the log for a requester; report with `read_done`."""

    requester: str
    topic: str
    partition: str
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Locate:
    """Find the first record of a partition that arrived at a time; report with `located`."""

    requester: str
    topic: str
    partition: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell the operator something that needs attention. The shell limits the rate per `key`."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Settled:
    """Everybody has answered: what a tool asked for is known, or done."""


Action = (
    Send
    | SendRun
    | SendDirect
    | Subscribe
    | Connect
    | Disconnect
    | ConnectStore
    | DisconnectStore
    | SendBeacon
    | ReachTowers
    | Forward
    | Deliver
    | Begin
    | Expire
    | Append
    | Drop
    | Repair
    | Read
    | Locate
    | Settled
    | Warn
)
