"""Where `dafka offsets reset` sends a consumer: asks the cluster which partitions there are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import click
import gevent

import dafka
from dafka.cli import nodes
from dafka.cli.inspecting import gathered
from dafka.cli.options import Fault
from dafka.cli.signals import INTERRUPTED
from dafka.cli.tables import count
from dafka.config import ConsumerConfig
from dafka.core.inventory import PartitionState
from dafka.core.partition import Key
from dafka.io.offsets_format import Saved
from dafka.names import MAX_OFFSET, check_topic, matches

LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Goal:
    """Where to: an offset, the earliest or the latest record, or one by its time of arrival."""

    word: str = ""
    offset: int = 0
    time: datetime | None = None

    @classmethod
    def read(cls, text: str | None) -> Self:
        """What `--to` says; a usage error if that is nothing."""
        if text in ("earliest", "latest"):
            return cls(word=text)
        if text is not None and text.isascii() and text.isdecimal() and int(text) <= MAX_OFFSET:
            return cls(offset=int(text))
        raise click.BadParameter(
            f"{text!r} is neither earliest, latest nor an offset.", param_hint="'--to'"
        )


def destinations(
    goal: Goal,
    saved: Saved,
    topics: Sequence[str],
    partition: str | None,
    config: ConsumerConfig,
    timeout: float,
) -> dict[Key, int]:
    """The new position of each partition that is meant; `Fault` if there is none, or no answer."""
    config = replace(config, name="")
    wanted = _Wanted(saved, topics, partition)
    found = wanted.among(gathered(wanted.question(), config, timeout).partitions)
    if not found:
        raise Fault(f"the cluster has no partition of {wanted}: nothing was changed")
    if goal.time is not None:
        return _at(goal.time, [(one.topic, one.partition) for one in found], config, timeout)
    return {(one.topic, one.partition): _offset(goal, one) for one in found}


class _Wanted:
    """The partitions that are meant: of some topics, or of all that a consumer has."""

    def __init__(self, saved: Saved, topics: Sequence[str], partition: str | None) -> None:
        own = {text for text, pattern in saved.subscriptions if not pattern}
        own |= {topic for topic, _ in (*saved.positions, *saved.damaged)}
        self._topics = sorted(topics or own)
        self._patterns = [t for t, pattern in saved.subscriptions if pattern and not topics]
        self._partition = partition

    def question(self) -> str:
        """The topic to ask stores for: all, if it is not one alone."""
        if len(self._topics) == 1 and not self._patterns:
            return check_topic(self._topics[0])
        return ""

    def among(self, partitions: Sequence[PartitionState]) -> list[PartitionState]:
        """Those of a cluster's partitions that are meant."""
        return [
            one
            for one in partitions
            if self._partition in (None, one.partition) and self._has(one.topic)
        ]

    def _has(self, topic: str) -> bool:
        return topic in self._topics or any(matches(one, topic) for one in self._patterns)

    def __str__(self) -> str:
        names = ", ".join([*self._topics, *self._patterns]) or "any topic"
        return f"{names} with the name {self._partition}" if self._partition else names


def _offset(goal: Goal, state: PartitionState) -> int:
    if goal.word:
        return state.earliest if goal.word == "earliest" else state.next
    return goal.offset


def _at(
    when: datetime, keys: Sequence[Key], config: ConsumerConfig, timeout: float
) -> dict[Key, int]:
    """Where partitions were at a time: a consumer that begins there finds it, and stands still."""
    topics = dict.fromkeys(topic for topic, _ in keys)
    consumer = dafka.Consumer(*topics, config=replace(config, start=when))
    found: dict[Key, int] = {}
    ended = False

    def body(_interrupts: nodes.Interrupts) -> None:
        nonlocal found, ended
        consumer.pause()
        until = time.monotonic() + timeout
        while not found.keys() >= set(keys) and time.monotonic() < until:
            gevent.sleep(LOOK_S)
            found = {(one.topic, one.partition): one.offset for one in consumer.paused()}
        ended = True

    nodes.run(consumer, body)
    if not ended:
        raise Fault("interrupted before the stores had answered", INTERRUPTED)
    missing = [key for key in keys if key not in found]
    if missing:
        raise Fault(
            f"no store has told within {timeout:g} s where {count(len(missing), 'partition')} "
            f"was at {when}, such as {missing[0][1]} of topic {missing[0][0]}: nothing was changed"
        )
    return {key: found[key] for key in keys}
