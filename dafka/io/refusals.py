"""What a producer refuses, and what it says when records are not acknowledged in time."""

from __future__ import annotations

from collections.abc import Iterable

from dafka.config import ProducerConfig
from dafka.core.producer import Producer
from dafka.core.run import MAX_CONTENT_BYTES, RECORD_COST
from dafka.errors import ConfigError, PublishTimeout
from dafka.names import check_partition

_MAX_OFFSET = 1 << 63


def as_bytes(content: object) -> bytes:
    """A content that is not `bytes` itself, but like it; else `ConfigError`."""
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    hint = "; encode text first, for example text.encode()" if isinstance(content, str) else ""
    raise ConfigError(f"a record's content is bytes, not {type(content).__name__}{hint}")


def together(
    topic: str, contents: Iterable[object], config: ProducerConfig
) -> tuple[list[bytes], int]:
    """Contents that are published together, and the room they need; `ConfigError` if they cannot.

    Where one of them alone never fits, its own cost: who makes room refuses that.
    """
    records = _all_bytes(contents)
    cost = sum(map(len, records)) + RECORD_COST * len(records)
    most = max(map(len, records), default=0) + RECORD_COST
    if most > largest(config):
        return records, most
    if cost > config.buffer_bytes:
        raise too_many(topic, len(records), cost, config)
    return records, cost


def _all_bytes(contents: Iterable[object]) -> list[bytes]:
    try:
        each = iter(contents)
    except TypeError:
        kind = type(contents).__name__
        raise ConfigError(f"publish_many takes a list of contents, not {kind}") from None
    return [one if type(one) is bytes else as_bytes(one) for one in each]


def check_continued(
    partition: str | None, first: int, earliest: int, config: ProducerConfig
) -> None:
    """Raise `ConfigError` unless a producer can begin with this offset of this partition."""
    if not isinstance(first, int) or isinstance(first, bool) or not 0 <= first < _MAX_OFFSET:
        raise ConfigError(f"first is {first!r}: it must be an offset, 0 or greater")
    if not isinstance(earliest, int) or isinstance(earliest, bool) or not 0 <= earliest <= first:
        raise ConfigError(f"earliest is {earliest!r}: it must be an offset up to first, {first}")
    if partition is None and first:
        raise ConfigError(f"first is {first}, but no partition is given to continue")
    if partition is not None:
        check_partition(partition)
        if config.outbox:
            raise ConfigError("give either a partition or an outbox, which has its own partition")


def largest(config: ProducerConfig) -> int:
    """What a record may cost at most, its keeping included."""
    return min(config.buffer_bytes, MAX_CONTENT_BYTES + RECORD_COST)


def too_large(topic: str, size: int, config: ProducerConfig) -> ConfigError:
    """A record of this cost never fits."""
    size -= RECORD_COST
    if largest(config) < config.buffer_bytes:
        text = f"is too large for every store: at most {MAX_CONTENT_BYTES} bytes fit"
    else:
        text = (
            f"does not fit into buffer_bytes ({config.buffer_bytes}): raise that "
            "(DAFKA_BUFFER_BYTES, or buffer_bytes in [producer]), or publish less at once"
        )
    return ConfigError(f"topic {topic}: a record of {size} bytes {text}")


def too_many(topic: str, number: int, cost: int, config: ProducerConfig) -> ConfigError:
    """Records that are published together have this cost, and never fit."""
    return ConfigError(
        f"topic {topic}: {records(number)} of {cost - RECORD_COST * number} bytes do not fit into "
        f"buffer_bytes ({config.buffer_bytes}), where each takes {RECORD_COST} more: publish fewer "
        "at once, or raise that (DAFKA_BUFFER_BYTES, or buffer_bytes in [producer])"
    )


def full(machine: Producer, left: int, timeout: float | None, reason: str) -> PublishTimeout:
    """`left` records take all the room, and the time to wait for it has passed."""
    verb = "fills" if left == 1 else "fill"
    return PublishTimeout(
        f"topic {machine.topic} partition {machine.address}: {records(left)} {verb} buffer_bytes "
        f"({machine.config.buffer_bytes}), not acknowledged {_when(timeout)}; "
        f"{reason}",
        left,
    )


def lacking(machine: Producer, end: int, timeout: float | None, reason: str) -> PublishTimeout:
    """The records before `end` are not all acknowledged, and the time to wait has passed."""
    left = end - machine.acked
    return PublishTimeout(
        f"topic {machine.topic} partition {machine.address}: {records(left)} from offset "
        f"{machine.acked} on, not acknowledged {_when(timeout)}; {reason}",
        left,
    )


def records(count: int) -> str:
    """A number of records in words."""
    return "1 record" if count == 1 else f"{count} records"


def _when(timeout: float | None) -> str:
    return f"within {timeout:g} s" if timeout else "yet"


def obstacle(machine: Producer, there: int) -> str:
    """Why records are not acknowledged, as far as it is known here, and what would help.

    `there`: how many stores towers have introduced as such; a C tower does not say.
    """
    wanted, have = machine.config.min_store_acks, machine.stores
    told = ""
    if wanted > 1:
        verb = "has" if have == 1 else "have"
        told = (
            f"{have} of {wanted} distinct stores (min_store_acks) {verb} offset {machine.acked}: "
        )
    if there >= wanted:
        who = "another store is" if have else "a store is"
        return (
            f"{told}{who} there, but does not acknowledge: see its log, its disk may be full or a "
            "record too large for it"
        )
    if wanted == 1:
        return "is a store running at this tower? 'dafka server' starts one"
    return f"{told}start more stores at this tower, or ask for fewer"
