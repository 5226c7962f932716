"""`dafka check`: verifies the logs of stores that are not running, and compares them."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from dafka.cli.options import Command, Fault, json_option, version_option
from dafka.cli.progress import progress
from dafka.cli.stdio import done_all_the_same
from dafka.cli.tables import count
from dafka.cli.texts import document, visible
from dafka.config import MIB
from dafka.errors import StoreError
from dafka.io.log import Damage, Damaged, Extent, Log
from dafka.io.log_directory import DATABASE

REPAIR_BYTES = 16 * MIB
REPAIR_RECORDS = 1_000_000
"""What is copied at once from another store's directory."""

USAGE = 2
"""Exit code: nothing was checked, or the directory to repair from cannot be read. 0: all is well;
1: something is damaged or differs."""

UNREADABLE = "cannot be read"
"""What a digest begins with where there is none."""

Held = tuple[int, int, str]
"""What a directory has of a partition: earliest, next and digest."""


@dataclass
class Report:
    """What is known of one directory."""

    directory: str
    log: Log | None = None
    extents: list[Extent] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)

    @property
    def records(self) -> int:
        """Records stored."""
        return sum(extent.next - extent.earliest for extent in self.extents)


@dataclass(frozen=True)
class Comparison:
    """What each directory holds of a partition: earliest, next and digest; None: nothing."""

    topic: str
    partition: str
    stored: list[Held | None]

    @property
    def identical(self) -> bool:
        """Whether all hold the same records."""
        return len(set(self.stored)) == 1 and not any(map(_unreadable, self.stored))


def _unreadable(held: Held | None) -> bool:
    return held is not None and held[2].startswith(UNREADABLE)


def open_logs(directories: tuple[str, ...], stack: ExitStack) -> list[Report]:
    """Open all directories; `Fault` if one is not a log, or is in use. None is changed then."""
    for directory in directories:
        if not Path(directory).is_dir():
            raise Fault(f"{directory} is not a directory: name the --data of a store", USAGE)
        if not (Path(directory) / DATABASE).is_file():
            raise Fault(f"{directory} holds no Dafka log: name the --data of a store", USAGE)
    reports = [Report(directory, Log(directory)) for directory in directories]
    for report in reports:
        assert report.log is not None
        try:
            stack.enter_context(report.log)
        except StoreError as error:
            if not isinstance(error.__cause__, sqlite3.Error):
                raise Fault(str(error), USAGE) from error
            report.log = None
            report.damage.append(Damage("", "", 0, -1, str(error)))
        else:
            report.extents = report.log.partitions()
    return reports


def verify(report: Report, bar: Any) -> None:
    """Read everything in a directory."""
    if report.log is not None:
        for damage in report.log.check(progress=bar.update):
            report.damage.append(damage)


def repair(report: Report, source: Log, bar: Any) -> None:
    """Replace what is damaged by what `source` has of it, and verify everything again."""
    assert report.log is not None
    for damage in report.damage:
        if damage.topic and damage.first <= damage.last:
            _repair(report.log, source, damage)
    report.damage = []
    report.extents = report.log.partitions()
    verify(report, bar)


def _repair(log: Log, source: Log, damage: Damage) -> None:
    offset = damage.first
    while offset <= damage.last:
        most = min(damage.last + 1 - offset, REPAIR_RECORDS)
        try:
            run = source.read(
                damage.topic, damage.partition, offset, max_records=most, max_bytes=REPAIR_BYTES
            )
        except Damaged:
            run = None
        except StoreError as error:
            raise Fault(
                f"{source.directory} {UNREADABLE} to repair from: {error}", USAGE
            ) from error
        if run is None:
            offset += 1  # the other one lacks it as well; it stays damaged, and is reported
            continue
        log.repair(run)
        offset = run.next


def compare(reports: list[Report], bar: Any) -> list[Comparison]:
    """Every partition that any of the directories holds, in all of them."""
    stored = [{(e.topic, e.partition): e for e in report.extents} for report in reports]
    comparisons = []
    for topic, partition in sorted(set().union(*stored)):
        held: list[Held | None] = []
        for report, extents in zip(reports, stored, strict=True):
            extent = extents.get((topic, partition))
            held.append(_held(report, extent))
            bar.update(0 if extent is None else extent.next - extent.earliest)
        comparisons.append(Comparison(topic, partition, held))
    return comparisons


def _held(report: Report, extent: Extent | None) -> Held | None:
    if report.log is None:
        return 0, 0, UNREADABLE
    if extent is None:
        return None
    try:
        digest = report.log.digest(extent.topic, extent.partition)
    except StoreError as error:
        digest = f"{UNREADABLE}: {error}"
    return extent.earliest, extent.next, digest


def _intact(source: Report) -> Log:
    if source.log is None:
        reasons = " ".join(damage.reason for damage in source.damage)
        raise Fault(f"{source.directory} {UNREADABLE} to repair from: {reasons}", USAGE)
    return source.log


def _work_through(report: Report, source: Log | None, as_json: bool) -> None:
    """Verify a directory, and repair it from `source` if that is given."""
    with progress(report.records, keep=False) as bar:
        verify(report, bar)
    if not as_json:
        _print_damage(report)
    if source is not None and report.log is not None and report.damage:
        with progress(report.records, keep=False) as bar:
            repair(report, source, bar)
        if not as_json:
            with done_all_the_same(f"{report.directory} was repaired: {_found(report)}"):
                click.echo(f"{report.directory}: after the repair:")
                _print_damage(report)


def _print_damage(report: Report) -> None:
    for damage in report.damage:
        place = f"topic {damage.topic!r}, partition {damage.partition}, " if damage.topic else ""
        if damage.last >= damage.first:
            place += f"offsets {damage.first} to {damage.last}: "
        click.echo(visible(f"{report.directory}: {place}{damage.reason}"))
    amount = f"{count(len(report.extents), 'partition')}, {count(report.records, 'record')}"
    click.echo(f"{report.directory}: {amount}: {_found(report)}")


def _found(report: Report) -> str:
    return count(len(report.damage), "fault") if report.damage else "no damage"


def _print_comparison(comparison: Comparison, directories: tuple[str, ...]) -> None:
    name = visible(f"topic {comparison.topic!r}, partition {comparison.partition}")
    if comparison.identical:
        earliest, end, digest = comparison.stored[0] or (0, 0, "")
        click.echo(f"{name}: identical, offsets {earliest} to {end - 1}, {digest[:16]}")
        return
    click.echo(f"{name}: different")
    for directory, held in zip(directories, comparison.stored, strict=True):
        click.echo(visible(f"  {directory}: {_told(held)}"))


def _told(held: Held | None) -> str:
    if held is None:
        return "nothing"
    earliest, end, digest = held
    shown = digest if _unreadable(held) else digest[:16]
    return f"offsets {earliest} to {end - 1}, {shown}" if end else shown


def _as_json(reports: list[Report], comparisons: list[Comparison]) -> str:
    checked = [
        {
            "directory": report.directory,
            "partitions": len(report.extents),
            "records": report.records,
            "damage": [asdict(damage) for damage in report.damage],
        }
        for report in reports
    ]
    compared = [
        {
            "topic": comparison.topic,
            "partition": comparison.partition,
            "identical": comparison.identical,
            "stored": [
                held and dict(zip(("earliest", "next", "digest"), held, strict=True))
                for held in comparison.stored
            ],
        }
        for comparison in comparisons
    ]
    return document({"directories": checked, "partitions": compared})


@click.command(cls=Command)
@click.argument("directories", nargs=-1, required=True, metavar="DIR...")
@click.option(
    "--compare", "comparing", is_flag=True, help="Tell whether all hold the same records."
)
@click.option("--repair", "repairing", is_flag=True, help="Replace what is damaged; needs --from.")
@click.option("--from", "source", metavar="DIR", help="Another store's directory, to repair from.")
@json_option
@version_option
def check(
    directories: tuple[str, ...],
    comparing: bool,
    repairing: bool,
    source: str | None,
    as_json: bool,
) -> int:
    """Verify the logs in the data directories of stores that are not running.

    Every record is read, and its checksum verified. Prints what is damaged, with topic, partition
    and offsets. With --compare and several directories, also prints for each partition whether
    all of them hold the same records. With --repair, what is damaged in one directory is copied
    from the directory of another store, which is not running either.

    Exit code 0: no damage, and no difference; 1: something is damaged or differs; 2: nothing was
    checked, since a directory is not a log or is in use, or the one to repair from cannot be read.

    \b
    Example:
      dafka check ./dafka-data
      dafka check --compare ./store-1 ./store-2 ./store-3
      dafka check ./store-1 --repair --from ./store-2
    """
    named = (*directories, source) if source is not None else directories
    _refuse(named, comparing, repairing, source)
    with ExitStack() as stack:
        reports = open_logs(named, stack)
        checked = reports[: len(directories)]
        intact = _intact(reports[-1]) if repairing else None
        for report in checked:
            _work_through(report, intact, as_json)
        comparisons: list[Comparison] = []
        if comparing:
            with progress(sum(report.records for report in checked), keep=False) as bar:
                comparisons = compare(checked, bar)
    for comparison in comparisons:
        if not as_json:
            _print_comparison(comparison, directories)
    if as_json:
        click.echo(_as_json(checked, comparisons))
    damaged = any(report.damage for report in checked)
    return 1 if damaged or not all(each.identical for each in comparisons) else 0


def _refuse(named: tuple[str, ...], comparing: bool, repairing: bool, source: str | None) -> None:
    if len(set(map(os.path.realpath, named))) < len(named):
        raise click.UsageError("A directory is named twice.")
    if comparing and len(named) < 2:
        raise click.UsageError("--compare needs at least two directories.")
    if repairing != (source is not None):
        raise click.UsageError("--repair and --from need each other.")
    if repairing and (comparing or len(named) > 2):
        raise click.UsageError("--repair takes one directory, and no --compare.")
