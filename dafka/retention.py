"""How long records are kept: rules for topics by name. Decides validity, drops nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from dafka.errors import ConfigError
from dafka.names import matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """A rule for the topics that match; a bound that is None does not limit anything.

    Records go in whole values of about 1 MiB, the oldest of the topic first, whichever partition
    they are in.
    """

    topics: str = "*"
    """Pattern of topic names: `*`, `?` and `[...]` as in file names."""
    age_s: float | None = None
    """Records that arrived longer ago are dropped."""
    bytes: int | None = None
    """At most this much is kept of the topic, but always its newest value."""
    records: int | None = None
    """More than this many records are kept only until whole values of them can go."""

    def __post_init__(self) -> None:
        if not isinstance(self.topics, str) or not self.topics:
            raise ConfigError(f"retention topics {self.topics!r} is not a pattern such as logs.*")
        for name, kinds in (("age_s", (int, float)), ("bytes", (int,)), ("records", (int,))):
            value = getattr(self, name)
            if value is None:
                continue
            usable = isinstance(value, kinds) and not isinstance(value, bool)
            if not usable or not math.isfinite(value) or value <= 0:
                raise ConfigError(
                    f"retention of {self.topics}: {name} is {value!r}: it must be a number "
                    "greater than zero"
                )

    def matches(self, topic: str) -> bool:
        """Whether the rule is about this topic."""
        return matches(self.topics, topic)


Rules = Sequence[Retention | Mapping[str, Any]]
"""What `retention=` takes: rules, or tables as they stand in a TOML file."""


def parse_rules(rules: Rules) -> tuple[Retention, ...]:
    """Rules in the order that counts; `ConfigError` for what is none."""
    if isinstance(rules, str) or not isinstance(rules, Sequence):
        raise ConfigError(f"retention is {rules!r}: it must be a list of rules")
    return tuple(_parse(rule) for rule in rules)


def _parse(rule: Retention | Mapping[str, Any]) -> Retention:
    if isinstance(rule, Retention):
        return rule
    known = [field.name for field in fields(Retention)]
    if not isinstance(rule, Mapping) or any(key not in known for key in rule):
        raise ConfigError(f"retention rule {rule!r} is unusable: its keys are {', '.join(known)}")
    return Retention(**rule)


def rule_for(rules: Sequence[Retention], topic: str) -> Retention | None:
    """The first rule that is about a topic; None: everything is kept."""
    return next((rule for rule in rules if rule.matches(topic)), None)
