"""Which records of a topic have to go, and what rules may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dafka.config import StoreConfig
from dafka.core.retention import Held, overdue
from dafka.errors import ConfigError
from dafka.retention import Retention, rule_for

DAY = 86_400.0
NOW = 100 * DAY


def _held(name: str, records: int, age: float, oldest: int = 10, size: int = 100) -> Held:
    """A partition with values of `oldest` records, each of `size` bytes."""
    values = -(-records // oldest)
    return Held(name, records, values * size, oldest - 1, oldest, size, NOW - age)


def _names(rule: Retention, *held: Held) -> list[str]:
    return [one.partition for one in overdue(rule, held, NOW)]


def test_by_age_every_partition_loses_what_is_older() -> None:
    rule = Retention(age_s=2 * DAY)
    old, young, older = _held("old", 10, 3 * DAY), _held("young", 10, DAY), _held("x", 10, 4 * DAY)
    assert _names(rule, old, young, older) == ["x", "old"]


def test_by_age_even_the_last_value_of_a_topic_goes() -> None:
    assert _names(Retention(age_s=DAY), _held("a", 10, 2 * DAY)) == ["a"]


def test_by_bytes_the_oldest_of_the_topic_goes_until_it_fits() -> None:
    held = [_held("young", 20, 1), _held("old", 20, 3), _held("middle", 20, 2)]
    assert _names(Retention(bytes=600), *held) == []
    assert _names(Retention(bytes=599), *held) == ["old"]
    assert _names(Retention(bytes=450), *held) == ["old", "middle"]
    assert _names(Retention(bytes=1), *held) == ["old", "middle", "young"]


def test_by_bytes_the_last_value_of_a_topic_stays() -> None:
    assert _names(Retention(bytes=1), _held("a", 10, 1)) == []
    assert _names(Retention(bytes=1), _held("a", 10, 2), _held("b", 10, 1)) == ["a"]


def test_by_records_as_many_stay_as_are_asked_for() -> None:
    held = [_held("young", 30, 1), _held("old", 30, 3)]
    assert _names(Retention(records=51), *held) == []
    assert _names(Retention(records=50), *held) == ["old"]
    assert _names(Retention(records=40), *held) == ["old", "young"]


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 9)), max_size=8),
    st.integers(1, 300),
)
def test_by_records_there_are_never_fewer_left(parts: list[tuple[int, int]], wanted: int) -> None:
    held = [_held(f"p{n}", records, age) for n, (records, age) in enumerate(parts)]
    gone = overdue(Retention(records=wanted), held, NOW)
    before = sum(one.records for one in held)
    left = before - sum(one.oldest_records for one in gone)
    assert left >= min(wanted, before)


def test_a_rule_without_bounds_keeps_everything() -> None:
    assert _names(Retention(), _held("a", 10, 99 * DAY)) == []


def test_the_first_rule_that_matches_counts() -> None:
    rules = StoreConfig(
        retention=[
            {"topics": "logs.audit"},
            Retention(topics="logs.*", age_s=DAY),
            {"topics": "*", "bytes": 5},
        ]
    ).rules
    assert rule_for(rules, "logs.audit") == Retention(topics="logs.audit")
    assert rule_for(rules, "logs.web") == Retention(topics="logs.*", age_s=DAY)
    assert rule_for(rules, "LOGS.web") == Retention(bytes=5)
    assert rule_for((), "logs.web") is None


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ("logs.*", "list of rules"),
        ([3], "unusable"),
        ([{"topic": "a"}], "unusable"),
        ([{"topics": ""}], "pattern"),
        ([{"topics": 3}], "pattern"),
        ([{"age_s": 0}], "age_s is 0"),
        ([{"age_s": float("nan")}], "age_s is nan"),
        ([{"age_s": True}], "age_s is True"),
        ([{"bytes": 1.5}], "bytes is 1.5"),
        ([{"bytes": -1}], "bytes is -1"),
        ([{"records": "7"}], "records is '7'"),
    ],
)
def test_what_is_no_rule_is_refused(rules: object, word: str) -> None:
    with pytest.raises(ConfigError, match=word.replace("*", ".")):
        StoreConfig(retention=rules)  # type: ignore[arg-type]
