"""Log shipping: rotations, half lines and kills, and each line arrives once."""

from __future__ import annotations

import random
import shutil
import time

import pytest

from tests.support.processes import eventually

pytestmark = pytest.mark.process


class Log:
    """A log file that an application writes and somebody rotates."""

    def __init__(self, path):
        self.path = path
        self.written = []
        self.file = path.open("ab")

    def write(self, count, end=b"\n"):
        """Write lines; without `end` the last one stays a half for now."""
        for number in range(count):
            line = b"line %d of many" % len(self.written)
            self.written.append(line)
            self.file.write(line + (end if number == count - 1 else b"\n"))
        self.file.flush()

    def finish_line(self):
        self.file.write(b"\n")
        self.file.flush()

    def rename(self):
        """Rotate as logrotate does by default; the application opens its log again later."""
        for number in range(8, 0, -1):
            old = self.path.with_name(f"app.log.{number}")
            if old.exists():
                old.rename(self.path.with_name(f"app.log.{number + 1}"))
        self.path.rename(self.path.with_name("app.log.1"))

    def reopen(self):
        self.file.close()
        self.file = self.path.open("ab")

    def copy_and_truncate(self):
        for number in range(8, 0, -1):
            old = self.path.with_name(f"app.log.{number}")
            if old.exists():
                old.rename(self.path.with_name(f"app.log.{number + 1}"))
        shutil.copyfile(self.path, self.path.with_name("app.log.1"))
        self.file.truncate(0)


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "app.log")
    yield log
    log.file.close()


def ship(programs):
    return programs.begin("log_shipping", "ship", "app.log", "--state", "state", "--host", "web")


def collected(programs):
    """The lines of the one file that there is."""
    files = list((programs.directory / "out").glob("logs.web.app.log/*.log"))
    return files[0].read_bytes().split(b"\n")[:-1] if files else []


def arrives(programs, log):
    """All lines arrive, in order, and none of them twice."""
    eventually(lambda: len(collected(programs)) >= len(log.written), "all lines are collected")
    assert collected(programs) == log.written


def test_lines_arrive_over_rotations_of_both_kinds_and_half_a_line(programs, log):
    shipper = ship(programs)
    collector = programs.begin("log_shipping", "collect", "out")
    log.write(100, end=b"")
    eventually(lambda: len(collected(programs)) == 99, "whole lines are collected")
    log.finish_line()
    arrives(programs, log)
    log.rename()
    log.write(10)  # its writer has not noticed
    log.reopen()
    log.write(50)
    arrives(programs, log)
    log.copy_and_truncate()
    log.write(5)
    arrives(programs, log)
    assert (shipper.end(), collector.end()) == (0, 0)
    assert (shipper.complained(), collector.complained()) == ("", "")


def test_what_was_rotated_while_nobody_shipped_is_found(programs, log):
    collector = programs.begin("log_shipping", "collect", "out")
    shipper = ship(programs)
    log.write(40)
    arrives(programs, log)
    shipper.kill()
    log.write(30)
    log.copy_and_truncate()
    log.write(20, end=b"")  # half a line in a file that ends with it
    log.rename()
    log.reopen()
    log.write(10)
    collector.kill()
    (file,) = (programs.directory / "out").glob("*/*.log")
    file.write_bytes(file.read_bytes()[:-7])  # a collector can be killed in the middle of a line
    ship(programs)
    programs.begin("log_shipping", "collect", "out")
    arrives(programs, log)


def kill_at_random(programs, log, seed, kills):
    chance = random.Random(seed)
    shipper, collector = ship(programs), programs.begin("log_shipping", "collect", "out")
    log.write(1)
    arrives(programs, log)  # what was rotated before it began is none of the shipper's
    for _ in range(kills):
        log.write(chance.choice([1, 100, 20_000]))
        chance.choice([lambda: None, log.rename, log.copy_and_truncate])()
        if not log.path.exists():
            log.reopen()
        enough = len(log.written) - chance.choice([0, 50, 5000])
        eventually(lambda n=enough: len(collected(programs)) >= n, "some lines are collected")
        time.sleep(chance.uniform(0, 0.3))  # any moment will do
        if chance.random() < 0.6:
            shipper.kill()
            shipper = ship(programs)
        else:
            collector.kill()
            collector = programs.begin("log_shipping", "collect", "out")
    log.write(10)
    arrives(programs, log)


@pytest.mark.parametrize("seed", [1])
def test_shippers_and_collectors_that_are_killed_lose_and_double_nothing(programs, log, seed):
    kill_at_random(programs, log, seed, kills=3)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10, 13))
def test_they_do_so_however_often(programs, log, seed):
    kill_at_random(programs, log, seed, kills=40)


def test_a_state_that_another_shipper_uses_is_refused_in_a_sentence(programs, log):
    first = ship(programs)
    log.write(1)
    outboxes = programs.directory / "state"
    eventually(lambda: list(outboxes.glob("*/batches.json")), "the first one is at work")
    second = ship(programs)
    assert second.wait() == 1
    assert second.complained().startswith("log_shipping.py: ")
    assert second.complained().count("\n") == 1
    assert first.end() == 0
