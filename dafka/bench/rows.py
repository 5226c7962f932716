"""What is measured: every row, with its ceilings, as data; and which of them a request means.

A row's name says what it is: `publish/100B/1p/1s/fsync` is acked publish of records of 100 bytes
by one producer to one store that syncs. Ceilings are rows as well, below `raw/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from dafka.bench.rounds import Measure, Row, Trial
from dafka.bench.rows_peers import PEER_NAMES, peer_rows
from dafka.bench.trials import ceilings, footprint, latencies, rates
from dafka.bench.work import KB, MANY, Work

GROUPS = {
    "publish": "from publish to the acknowledgement of every store, records a second",
    "live": "from publish to the slowest consumer, records a second",
    "replay": "everything from a store, and what that costs who publishes meanwhile",
    "streams": "through an application: read, worked on, saved, published and acknowledged",
    "latency": "from when a record was due to its delivery or acknowledgement, milliseconds",
    "start": "from the start of a server to the first acknowledgement, milliseconds",
    "idle": "what each node costs while nobody asks anything of it",
    "memory": "what a store needs while many records come, MB",
}
"""Groups of rows, and what they tell."""

SIZES = (100, KB, 100 * KB)
SHORT_BYTES = 2_000_000
"""Of the first, short run of a trial that finds out how many records it takes."""

_PUBLISH = "publish/100B/1p/1s/fsync"
_WIRE, _COMMIT, _SYNC = "raw/wire", "raw/commit", "raw/fdatasync"


def size_text(size: int) -> str:
    """Bytes as they stand in names: 100B, 1KB."""
    return f"{size // KB}KB" if size >= KB else f"{size}B"


def _rate(name: str, run: Measure, work: Work) -> Trial:
    first = max(work.producers * 10, SHORT_BYTES // work.size)
    return Trial(name, run, work, first=first)


def _wire_name(size: int, publishers: int = 1, subscribers: int = 1) -> str:
    return f"{_WIRE}/{size_text(size)}/{publishers}-{subscribers}"


def _publish() -> Iterator[Row]:
    for size in SIZES:
        for stores in (1, 2):
            for producers in (1, 4, 16):
                for durability in ("fsync", "os"):
                    yield _published(size, producers, stores, durability)
    yield _published(100, 1, 1, "fsync", MANY)
    name = "publish/100B/loop"
    trial = _rate(name, rates.loop, Work())
    yield Row(name, "publish", trial, ceilings=(_wire_name(100),), who="raw")


def _published(size: int, producers: int, stores: int, durability: str, mode: str = "") -> Row:
    text = size_text(size)
    name = f"publish/{text}/{producers}p/{stores}s/{durability}{mode and '/' + mode}"
    work = Work(size=size, producers=producers, stores=stores, durability=durability, mode=mode)
    beside = [_wire_name(size, producers, stores), f"{_COMMIT}/{text}/{durability}"]
    return Row(
        name,
        "publish",
        _rate(name, rates.publish, work),
        durability=durability,
        ceilings=(*beside, *((f"{_SYNC}/{text}",) if durability == "fsync" else ())),
        headline=name in (_PUBLISH, f"{_PUBLISH}/{MANY}"),
    )


def _live() -> Iterator[Row]:
    for size in SIZES:
        for consumers in (1, 4, 16):
            for mode in ("runs", "records"):
                name = f"live/{size_text(size)}/{consumers}c/{mode}"
                work = Work(size=size, consumers=consumers, mode=mode)
                yield Row(
                    name,
                    "live",
                    _rate(name, rates.live, work),
                    durability="fsync",
                    # The store hears everything as well.
                    ceilings=(_wire_name(size, 1, consumers), _wire_name(size, 1, consumers + 1)),
                    headline=size == 100 and consumers == 1,
                )


def _replay() -> Iterator[Row]:
    for size in SIZES:
        for mode in ("runs", "records"):
            name = f"replay/{size_text(size)}/{mode}"
            yield Row(
                name,
                "replay",
                _rate(name, rates.replay, Work(size=size, mode=mode)),
                ceilings=(_wire_name(size),),
                headline=size == 100 and mode == "runs",
            )
    both, late = "replay/catch-up/both-have-all", "replay/catch-up/one-lacks-5x"
    for name, run in ((both, rates.joined), (late, rates.catch_up)):
        beside = (_wire_name(100, 1, 2),)
        yield Row(
            name,
            "replay",
            _rate(name, run, Work()),
            durability="fsync",
            ceilings=(both, *beside) if name == late else beside,
        )


def _streams() -> Iterator[Row]:
    for mode in ("map", "count"):
        name = f"streams/100B/{mode}"
        first = SHORT_BYTES // 100
        trial = Trial(name, rates.stream, Work(mode=mode), first=first, needs=("msgspec",))
        # It reads as a consumer does, and publishes as a producer does.
        beside = (_wire_name(100), "replay/100B/runs")
        yield Row(name, "streams", trial, durability="fsync", ceilings=beside)


IDLE_S = 5.0

PACES = {"1000": Work(rate=1000.0), "half": Work(mode=latencies.HALF)}
"""Records a second: a thousand, and half of what was published and acknowledged in this run."""


def _latency() -> Iterator[Row]:
    for to, ours, raw in (
        ("deliver", latencies.deliver, latencies.raw_deliver),
        ("ack", latencies.acknowledge, latencies.raw_acknowledge),
    ):
        for pace, work in PACES.items():
            yield from _timed(f"latency/{to}/{pace}", ours, work, "dafka", _PUBLISH)
        for pace, work in PACES.items():
            yield from _timed(f"raw/latency/{to}/{pace}", raw, work, "raw", _PUBLISH)


def _timed(name: str, run: Measure, work: Work, who: str, base: str) -> Iterator[Row]:
    half = (base,) if work.mode == latencies.HALF else ()
    trial = Trial(name, run, work, needs=("hdrh",), after=half, together=latencies.together)
    raw = who == "raw"
    for figure in ("p50", "p99", "p99.9"):
        yield Row(
            f"{name}/{figure}",
            "raw" if raw else "latency",
            trial,
            unit="ms",
            figure=figure,
            durability="-" if raw and "deliver" in name else work.durability,
            ceilings=() if raw else (f"raw/{name}/{figure}",),
            who=who,
            headline=work.rate == 1000.0 and figure in ("p50", "p99"),
        )


def _start() -> Iterator[Row]:
    for records, text in ((1, "empty"), (500_000, "500000")):
        name = f"start/{text}"
        trial = Trial(name, footprint.start, Work(records=records))
        yield from _started(name, trial, "dafka")
    yield from _started("raw/start", Trial("raw/start", footprint.raw_start, Work()), "raw")


def _started(name: str, trial: Trial, who: str) -> Iterator[Row]:
    for figure, text in (("process", "with-process"), ("server", "without-process")):
        yield Row(
            f"{name}/{text}",
            "raw" if who == "raw" else "start",
            trial,
            unit="ms",
            figure=figure,
            durability="fsync",
            ceilings=() if who == "raw" else (f"raw/start/{text}",),
            who=who,
            headline=True,
        )


def _idle() -> Iterator[Row]:
    units = {"cpu": "% of a core", "rss": "MB"}
    work = Work(seconds=IDLE_S)
    ours = Trial("idle", footprint.idle, work, needs=("psutil",), once=True)
    raw = Trial("raw/idle", footprint.raw_idle, work, needs=("psutil",), once=True)
    for kind, unit in units.items():
        for node in footprint.IDLE:
            name, figure, beside = f"idle/{kind}/{node}", f"{kind} {node}", (f"raw/idle/{kind}",)
            yield Row(name, "idle", ours, unit, figure, ceilings=beside, headline=True)
        yield Row(f"raw/idle/{kind}", "raw", raw, unit, f"{kind} raw", who="raw")


def _memory() -> Iterator[Row]:
    points = ["start", *map(footprint.point_name, footprint.POINTS), "peak"]
    for records, text in ((1_000_000, "1M"), (10_000_000, "10M")):
        name = f"memory/{text}"
        work = Work(records=records)
        trial = Trial(
            name, footprint.memory, work, needs=("psutil",), once=True, together=footprint.series
        )
        early, floor = f"{name}/store/10%", "raw/idle/rss"
        for figure in (*(f"store {point}" for point in points), "producer peak"):
            row = f"{name}/{figure.replace(' ', '/')}"
            # Flat is what it should be: later points stand beside an early one.
            later = "store" in figure and row not in (early, f"{name}/store/start")
            beside = (early, floor) if later else (floor,)
            yield Row(row, "memory", trial, "MB", figure, "fsync", beside)


def _raw() -> Iterator[Row]:
    for size in SIZES:
        shapes = [(1, n) for n in (1, 2, 4, 5, 16, 17)] + [(n, s) for n in (4, 16) for s in (1, 2)]
        for publishers, subscribers in shapes:
            name = _wire_name(size, publishers, subscribers)
            work = Work(size=size, producers=publishers, consumers=subscribers)
            yield Row(name, "raw", _rate(name, ceilings.wire, work), who="raw")
        for durability in ("fsync", "os"):
            name = f"{_COMMIT}/{size_text(size)}/{durability}"
            work = Work(size=size, durability=durability)
            trial = _rate(name, ceilings.commit, work)
            yield Row(name, "raw", trial, durability=durability, who="raw")
        name = f"{_SYNC}/{size_text(size)}"
        trial = _rate(name, ceilings.sync, Work(size=size))
        yield Row(name, "raw", trial, durability="fsync", who="raw")
    name = f"{_WIRE}/100B/1-1/curve"
    trial = _rate(name, ceilings.wire, Work(mode="curve"))
    yield Row(name, "live", trial, ceilings=(_wire_name(100),), who="raw")


def all_rows() -> dict[str, Row]:
    """Every row by its name, those that others stand beside last."""
    kinds = (_publish, _live, _replay, _streams, _latency, _start, _idle, _memory, _raw)
    rows = [row for kind in kinds for row in kind()]
    rows += peer_rows((_wire_name(100), f"{_COMMIT}/100B/fsync"), (_wire_name(100),))
    rows.sort(key=lambda row: row.group == "raw")
    return {row.name: row for row in rows}


def chosen(
    rows: dict[str, Row],
    patterns: Sequence[str],
    groups: Sequence[str],
    *,
    everything: bool = False,
    peers: bool = False,
) -> list[Row]:
    """The rows of a request: by name, by the beginning of a name, or a pattern of the shell.

    With `peers` theirs come along in the groups that are measured; else they have to be named.
    """
    if everything:
        found = [row for row in rows.values() if row.group != "raw"]
    elif patterns or groups:
        found = [
            row
            for row in rows.values()
            if row.group in groups or any(_means(one, row.name) for one in patterns)
        ]
    else:
        found = [row for row in rows.values() if row.headline and row.who == "dafka"]
    if peers:
        kinds = {row.group for row in found}
        with_them = [row for row in rows.values() if row.who in PEER_NAMES and row.group in kinds]
        return list(dict.fromkeys([*found, *with_them]))
    return [row for row in found if row.who not in PEER_NAMES or _named(row, patterns)]


def _named(row: Row, patterns: Sequence[str]) -> bool:
    return any(row.who in one.split("/") and _means(one, row.name) for one in patterns)


def unknown(rows: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Those of the patterns that mean no row."""
    return [one for one in patterns if not any(_means(one, row) for row in rows)]


def _means(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or name.startswith(f"{pattern.rstrip('/')}/")


def with_ceilings(rows: dict[str, Row], wanted: Sequence[Row]) -> list[Row]:
    """The wanted rows and all that they stand beside or go by, each once, ceilings last."""
    found = {row.name: row for row in wanted}
    left = list(wanted)
    while left:
        row = left.pop()
        for name in (*row.ceilings, *row.trial.after):
            if name not in found:
                found[name] = rows[name]
                left.append(rows[name])
    return [row for row in rows.values() if row.name in found]
