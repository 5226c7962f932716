"""Ships log files as they grow, and collects them in files elsewhere: each line exactly once.

python log_shipping.py ship /var/log/app.log --state shipped
python log_shipping.py collect collected
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import gevent

import dafka

BATCH_BYTES = 256 * 1024
PAUSE_S = 0.2
GONE_AFTER = 5
"""Looks in a row that do not find a file: it may be on its way from one name to another."""


@dataclass(frozen=True)
class Batch:
    """Lines that are about to be published: the offset of the first, and where it was found."""

    offset: int
    inode: int = 0
    position: int = 0
    sample: str = ""
    """How the first line begins: tells whether a file is still the one that was read."""

    def is_in(self, file: BinaryIO) -> bool:
        """Whether this file has these lines, and not others at their place."""
        file.seek(self.position)
        sample = self.sample.encode("latin-1")
        return file.read(len(sample)) == sample


class Tail:
    """Publishes the lines of one log file, rotated or not, as one partition."""

    def __init__(self, path: Path, state: Path, host: str, tower: str) -> None:
        self.path = path.absolute()
        directory = state / quote(str(self.path), safe="")
        self.journal = directory / "batches.json"
        self.producer = dafka.Producer(
            f"logs.{host}.{path.name}", outbox=directory / "outbox", tower=tower, stop_timeout_s=1
        )
        self.gone = 0

    def start(self) -> Tail:
        """Go on where the outbox ends: it tells how many lines of which batch were published."""
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        self.producer.start()
        end = self.producer.next_offset
        saved = json.loads(self.journal.read_text()) if self.journal.exists() else []
        self.batches = [Batch(**one) for one in saved if one["offset"] <= end]
        self.here = self.batches[-1] if self.batches else None
        self.position = self.here.position if self.here else 0
        self.skip = end - self.here.offset if self.here else 0
        if not self.path.exists():
            print(f"{self.path} is not there yet: waiting for it", file=sys.stderr)
        return self

    def step(self) -> bool:
        """Publish some lines; False if there were none."""
        files = self.files()
        for at, (path, stat) in self.candidates(files):
            newer = [one for _, one in files[at + 1 :] if one.st_size]
            with path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != stat.st_ino or not (self.here is None or self.here.is_in(file)):
                    continue
                self.gone = 0
                file.seek(self.position)
                for _ in range(self.skip):
                    self.position += len(file.readline())
                self.skip = 0
                lines = file.readlines(BATCH_BYTES)
            if lines and not lines[-1].endswith(b"\n") and not newer:
                lines.pop()  # its writer goes on with it
            if lines:
                self.publish(lines, inode)
            elif newer:
                self.go_to(newer[0])
            return bool(lines or newer)
        self.gone += 1
        if files and self.gone >= GONE_AFTER:
            print(f"{self.path}: what was read last is gone, its rest as well", file=sys.stderr)
            self.go_to(files[0][1])
        return False

    def files(self) -> list[tuple[Path, os.stat_result]]:
        """The log and what it was rotated to (app.log.1, app.log-20261125), oldest first."""
        rotated = re.compile(re.escape(self.path.name) + r"([.-][\d.-]+)?")
        found = []
        for entry in sorted(os.listdir(self.path.parent), reverse=True):
            if rotated.fullmatch(entry):
                try:
                    found.append((path := self.path.with_name(entry), path.stat()))
                except FileNotFoundError:
                    continue  # renamed: the next look finds it
        return sorted(found, key=lambda one: (one[0] == self.path, one[1].st_mtime_ns))

    def candidates(
        self, files: list[tuple[Path, os.stat_result]]
    ) -> list[tuple[int, tuple[Path, os.stat_result]]]:
        """Where to look: the file of old, whatever it is called now; then copies of it."""
        here = self.here
        if here is None:
            return [(at, one) for at, one in enumerate(files) if one[0] == self.path]
        same = [(at, one) for at, one in enumerate(files) if one[1].st_ino == here.inode]
        return same + list(reversed(list(enumerate(files)))) if here.sample else same

    def go_to(self, stat: os.stat_result) -> None:
        """Go on at the beginning of a file."""
        self.here, self.position, self.skip = Batch(0, stat.st_ino), 0, 0

    def publish(self, lines: list[bytes], inode: int) -> None:
        """Write down where the lines are, then publish them: a crash leaves both or the first."""
        producer, sample = self.producer, lines[0][:200].decode("latin-1")
        self.here = Batch(producer.next_offset, inode, self.position, sample)
        pairs = pairwise([*self.batches, self.here])
        unsaved = [one for one, after in pairs if after.offset > producer.saved]
        self.batches = [*unsaved, self.here]
        draft = self.journal.with_suffix(".new")
        with draft.open("w") as file:
            json.dump([asdict(one) for one in self.batches], file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.journal)
        producer.publish_many([line.removesuffix(b"\n") for line in lines])
        self.position += sum(map(len, lines))


def ship(paths: list[Path], state: Path, host: str, tower: str) -> None:
    """Publish what the files have, and what is written to them, until Ctrl-C."""
    with ExitStack() as started:
        tails = [Tail(path, state, host, tower) for path in paths]
        for tail in tails:
            started.callback(tail.start().producer.stop)
        while True:
            if not sum(tail.step() for tail in tails):
                tails[0].producer.wait(PAUSE_S)


def collect(out: Path, tower: str) -> None:
    """Append every line to OUT/TOPIC/PARTITION.log: a file has as many lines as were collected."""
    counts = {file.stem: whole_lines(file) for file in out.glob("*/*.log")}
    with dafka.Consumer(pattern="logs.*", start=dict(counts), tower=tower) as consumer:
        for run in consumer.runs():
            path = out / quote(run.topic, safe="") / f"{run.partition}.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            dropped = run.first - counts.get(run.partition, 0)  # by the stores' retention
            with path.open("ab") as file:
                file.write(b"\n" * dropped + b"\n".join([*run.contents, b""]))
            counts[run.partition] = run.next


def whole_lines(path: Path) -> int:
    """Cut off what a killed collector wrote of a line, and return the number of lines."""
    lines = size = 0
    with path.open("r+b") as file:
        for line in file:
            if line.endswith(b"\n"):
                lines, size = lines + 1, size + len(line)
        file.truncate(size)
    return lines


def main() -> None:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--tower", default="localhost", help="default: %(default)s")
    roles = parser.add_subparsers(dest="role", required=True)
    shipper = roles.add_parser("ship", help="publish the lines of log files")
    shipper.add_argument("files", nargs="+", type=Path, metavar="FILE")
    shipper.add_argument("--state", type=Path, required=True, help="a directory of its own")
    shipper.add_argument("--host", default=socket.gethostname(), help="default: %(default)s")
    collector = roles.add_parser("collect", help="write the lines of all hosts to files")
    collector.add_argument("out", type=Path, metavar="DIR")
    given = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, sys.exit)  # leaves every `with` in order
    if given.role == "ship":
        ship(given.files, given.state, given.host, given.tower)
    else:
        collect(given.out, given.tower)


if __name__ == "__main__":
    try:
        main()
    except (dafka.DafkaError, OSError) as error:
        sys.exit(f"log_shipping.py: {error}")
