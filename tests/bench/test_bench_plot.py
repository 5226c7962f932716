"""Charts: what stands beside what, and files that can be opened."""

from __future__ import annotations

import pytest

from dafka.bench import latency
from dafka.bench.plot import panels, plot
from dafka.bench.process import Unmeasured
from dafka.bench.rounds import Result
from dafka.bench.rows import all_rows

ROWS = all_rows()


def results() -> list[Result]:
    names = [
        "publish/100B/1p/1s/fsync",
        "publish/100B/redis/pipeline/1s",
        "latency/ack/1000/p50",
        "idle/cpu/store",
        "idle/rss/store",
        "raw/wire/100B/1-1",
        "raw/latency/ack/1000/p50",
        "raw/idle/cpu",
    ]
    found = [Result(ROWS[name], [3.0, 1.0, 2.0]) for name in names]
    found[2].notes["histogram"] = latency.encoded([0.001, 0.002] * 500)
    found[-1].figures = [0.0]
    return found


def test_a_panel_is_a_group_in_one_unit_with_its_ceilings():
    found = {name: [one.row.name for one in rows] for name, rows in panels(results())}
    assert found == {
        "publish, records/s": [
            "publish/100B/1p/1s/fsync",
            "publish/100B/redis/pipeline/1s",
            "raw/wire/100B/1-1",
        ],
        "latency, ms": ["latency/ack/1000/p50", "raw/latency/ack/1000/p50"],
        "idle, % of a core": ["idle/cpu/store", "raw/idle/cpu"],
        "idle, MB": ["idle/rss/store"],
    }


@pytest.mark.parametrize(("name", "begins"), [("a.svg", b"<?xml"), ("a.png", b"\x89PNG")])
def test_a_chart_is_drawn(tmp_path, name, begins):
    pytest.importorskip("matplotlib")
    plot(results(), tmp_path / name, "of this machine")
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_place_that_takes_no_chart_is_told(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(Unmeasured, match=r"cannot draw .*/nowhere/a.svg: No such file"):
        plot(results(), tmp_path / "nowhere" / "a.svg", "")
