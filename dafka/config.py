"""Settings of each kind of node, with their units, and what a tower's address may look like.

Decides defaults and validity. Where values come from (flag, environment, file) is decided in
`dafka.settings`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Literal

from dafka.beginning import Beginning, Start, parse_start
from dafka.errors import ConfigError
from dafka.names import check_host, check_name
from dafka.retention import Retention, Rules, parse_rules
from dafka.validity import check_bindable, check_durable, check_settings

DEFAULT_SUB_PORT = 5556
"""The tower's port that nodes publish their beacons to; the other one is the next port."""

MIB = 1024 * 1024

_MAX_HIGH_WATER_MARK = 2**31 - 1
"""ZeroMQ takes a C int."""

_PATHS = ("data", "outbox", "offsets")
"""Settings that may be given as a `Path` as well."""

_HOST_PORT = re.compile(r"(?:tcp://)?(?P<host>[^:/,\s]+|\[[^\]]+\])(?::(?P<port>\d{1,5}))?")
_ENDPOINT = re.compile(r"(?:tcp://\S+:\d{1,5}|inproc://\S+|ipc://\S+)")


@dataclass(frozen=True, slots=True)
class TowerAddress:
    """A tower's two endpoints, named from the tower's side."""

    sub: str
    """Nodes publish their beacons to this one (default port 5556)."""
    pub: str
    """Nodes subscribe to this one (default port 5557)."""

    def __str__(self) -> str:
        return f"{self.sub},{self.pub}"


def parse_tower(text: str) -> TowerAddress:
    """Read "host", "host:5556", "tcp://host:5556" or both endpoints, separated by a comma."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 2 and all(_ENDPOINT.fullmatch(part) for part in parts):
        return TowerAddress(*parts)
    match = _HOST_PORT.fullmatch(text.strip())
    if match is None or len(parts) != 1:
        raise ConfigError(
            f"tower {text!r} is not an address: use HOST, HOST:PORT, tcp://HOST:PORT "
            "or tcp://HOST:PORT,tcp://HOST:PORT"
        )
    port = int(match["port"] or DEFAULT_SUB_PORT)
    if not 1 <= port <= 65534:
        raise ConfigError(f"tower {text!r}: the port must be between 1 and 65534")
    host = match["host"]
    return TowerAddress(f"tcp://{host}:{port}", f"tcp://{host}:{port + 1}")


Tower = str | TowerAddress | Sequence[str | TowerAddress]
"""What every `tower=` argument takes: one tower or several."""

LOCALHOST = TowerAddress("tcp://127.0.0.1:5556", "tcp://127.0.0.1:5557")


def parse_towers(tower: Tower) -> tuple[TowerAddress, ...]:
    """Read one tower or several; a tower that is given twice counts once."""
    if not isinstance(tower, str | TowerAddress | Sequence):
        raise ConfigError(f"tower is {tower!r}: it must be an address or a list of them")
    given = [tower] if isinstance(tower, str | TowerAddress) else list(tower)
    if not given:
        raise ConfigError("no tower is given: name at least one, for example tower='localhost'")
    parsed = [one if isinstance(one, TowerAddress) else parse_tower(one) for one in given]
    return tuple(dict.fromkeys(parsed))


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerConfig:
    """A tower: introduces nodes to each other and carries no records."""

    sub: str = "tcp://*:5556"
    """Endpoint that nodes publish their beacons to."""
    pub: str = "tcp://*:5557"
    """Endpoint that nodes subscribe to."""
    host: str = ""
    """Announced for nodes on this machine that name no host; empty: the machine's own address,
    or 127.0.0.1 as long as no node from another machine is known."""
    peer_timeout_s: float = 4.0
    """A node not heard of for this long is forgotten."""

    def __post_init__(self) -> None:
        check_settings(self)
        check_host(self.host)
        check_bindable("sub", self.sub)
        check_bindable("pub", self.pub)
        if self.sub == self.pub and not self.sub.endswith(("*", ":0")):
            raise ConfigError(
                f"sub and pub are both {self.sub}: a tower listens on two endpoints, so name two"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """What producers, consumers and stores have in common."""

    tower: Tower = LOCALHOST
    """The towers to be introduced by; none of them needs to be running yet."""
    bind: str = "tcp://*:*"
    """Endpoint pattern of the node's own socket; the system chooses the port."""
    host: str = ""
    """Announced as this node's host; empty: the tower fills in what it sees."""
    beacon_interval_s: float = 1.0
    """Time between two signs of life."""
    peer_timeout_s: float = 4.0
    """A peer not heard of for this long is disconnected, until it is heard again."""
    max_peers: int = 10_000
    """Peers beyond this many are ignored."""
    high_water_mark: int = 100_000
    """Messages kept per peer and direction; a slower one loses some, and fetches them later.
    With large records, this times their size is what a slow peer can cost."""

    def __post_init__(self) -> None:
        for name in _PATHS:
            path = getattr(self, name, None)
            if isinstance(path, PathLike):
                object.__setattr__(self, name, fspath(path))
        parse_towers(self.tower)
        check_settings(self, "max_peers", "high_water_mark")
        check_host(self.host)
        check_bindable("bind", self.bind)
        if self.high_water_mark > _MAX_HIGH_WATER_MARK:
            raise ConfigError(
                f"high_water_mark is {self.high_water_mark}: it must be at most "
                f"{_MAX_HIGH_WATER_MARK}"
            )

    @property
    def towers(self) -> tuple[TowerAddress, ...]:
        """The towers in parsed form."""
        return parse_towers(self.tower)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerConfig(NodeConfig):
    """A producer of one topic."""

    buffer_bytes: int = 64 * MIB
    """Contents not yet acknowledged, each with 64 bytes for its keeping; `publish` blocks
    beyond it."""
    min_store_acks: int = 1
    """Distinct stores that must have acknowledged a record before it is forgotten."""
    head_interval_s: float = 1.0
    """Time between two announcements of the last record's offset."""
    stop_timeout_s: float = 5.0
    """How long `stop` waits for outstanding acknowledgements."""
    outbox: str = ""
    """Directory that keeps unacknowledged records and the partition's name over restarts, made if
    missing; empty: they live in memory only."""
    outbox_durability: Literal["fsync", "os"] = "fsync"
    """fsync: records in the outbox survive power loss; os: they survive the process, not power
    loss."""

    def __post_init__(self) -> None:
        NodeConfig.__post_init__(self)
        check_settings(self, "buffer_bytes", "min_store_acks")
        check_durable("outbox_durability", self.outbox_durability)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerConfig(NodeConfig):
    """A consumer of one or several topics."""

    start: Start = "latest"
    """Where partitions begin that have no position yet: "latest", "earliest", an offset, a time
    (datetime), or a mapping of partitions to offsets, of which those that it does not name begin
    at their earliest record."""
    name: str = ""
    """The consumer's name, by which it finds its positions again; empty: none are kept."""
    offsets: str = ""
    """Directory of the positions of named consumers, made if missing; empty: `dafka/offsets` in
    the user's state directory (XDG_STATE_HOME, or ~/.local/state)."""
    auto_commit: bool = True
    """Whether the positions of a named consumer are saved by themselves; else `commit` does it."""
    commit_interval_s: float = 1.0
    """Time between two times that positions are saved by themselves."""
    buffer_bytes: int = 16 * MIB
    """Contents received but not yet taken, each with 64 bytes for its keeping; reading pauses
    beyond it."""
    fetch_records: int = 50_000
    """Records asked for at once when catching up."""
    fetch_timeout_s: float = 0.5
    """Silence after which a request is repeated, at first; doubled up to `fetch_timeout_max_s`."""
    fetch_timeout_max_s: float = 8.0
    """Longest pause between two requests for the same records, while somebody says that they
    exist; what nobody has is asked for every 5 minutes at last."""
    max_partitions: int = 1_000_000
    """New partitions beyond this many are ignored, with a warning; each known one takes about a
    kilobyte of memory."""

    def __post_init__(self) -> None:
        NodeConfig.__post_init__(self)
        check_settings(self, "buffer_bytes", "fetch_records", "max_partitions")
        parse_start(self.start)
        if self.name:
            check_name(self.name)

    @property
    def beginning(self) -> Beginning:
        """The start in parsed form."""
        return parse_start(self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig(NodeConfig):
    """A store of every topic."""

    data: str = "dafka-data"
    """Directory of the record log; made if missing."""
    durability: Literal["fsync", "os"] = "fsync"
    """fsync: acknowledged records survive power loss; os: they survive the process, not power
    loss."""
    buffer_bytes: int = 64 * MIB
    """Contents received but not yet on disk, each with 64 bytes for its keeping; reading pauses
    beyond it."""
    fetch_records: int = 100_000
    """Records asked for at once when a gap is filled."""
    fetch_timeout_s: float = 0.5
    """Silence after which a request is repeated, at first; doubled up to `fetch_timeout_max_s`."""
    fetch_timeout_max_s: float = 8.0
    """Longest pause between two requests for the same records, while somebody says that they
    exist; what nobody has is asked for every 5 minutes at last."""
    max_partitions: int = 1_000_000
    """New partitions beyond this many are ignored, with a warning; each known one takes about a
    kilobyte of memory."""
    compare_interval_s: float = 30.0
    """Time between two comparisons with what the other stores have."""
    retention: Rules = ()
    """What is not kept for ever, for topics by name: the first rule that matches counts."""
    upkeep_interval_s: float = 5.0
    """Time between two looks at what is to be dropped, merged or given back to the disk."""
    scrub_interval_s: float = 604_800.0
    """Time in which all that is stored is verified once, a bit at each upkeep; 0: never."""
    slice_bytes: int = MIB
    """Answers are cut into slices of about this size, so that one reader does not starve others."""

    def __post_init__(self) -> None:
        NodeConfig.__post_init__(self)
        check_settings(self, "buffer_bytes", "fetch_records", "max_partitions", "slice_bytes")
        if not self.data:
            raise ConfigError("data is empty: give the directory of the records")
        parse_rules(self.retention)
        check_durable("durability", self.durability)

    @property
    def rules(self) -> tuple[Retention, ...]:
        """The retention in parsed form."""
        return parse_rules(self.retention)
