"""Decides which names of topics, partitions, consumers and hosts are acceptable; nobody else does.

Also what a pattern of topics is, and what matches it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import quote

from dafka.errors import ConfigError

MAX_TOPIC_BYTES = 255
"""On the wire a subject has a one-byte length (shared/wire: 46/DAFKA `string`)."""

MAX_OFFSET = (1 << 64) - 1
"""On the wire a sequence has eight bytes."""

_MAX_HOST = 255
_MAX_NAME_FILE = 200

# Printable ASCII without blanks and slashes: all else makes an endpoint that nodes refuse.
_HOST = re.compile(rf"[!-.0-~]{{0,{_MAX_HOST}}}")
_ADDRESS = re.compile(r"[0-9A-F]{32}")


def check_topic(topic: str) -> str:
    """Return `topic` if a topic can have this name, else raise `ConfigError`."""
    if not isinstance(topic, str):
        raise ConfigError(f"a topic is a str, not {type(topic).__name__}")
    if not topic:
        raise ConfigError("the topic is empty: give it a name of 1 to 255 bytes")
    try:
        size = len(topic.encode())
    except UnicodeEncodeError as error:
        raise ConfigError(f"topic {topic!r} is not valid Unicode text") from error
    if size > MAX_TOPIC_BYTES:
        raise ConfigError(
            f"topic {topic[:20]!r}… has {size} bytes in UTF-8: at most {MAX_TOPIC_BYTES} fit"
        )
    if "\0" in topic:
        raise ConfigError(f"topic {topic!r} contains a NUL, which ends a topic on the wire")
    return topic


def names_of(what: str, names: str | Iterable[str]) -> Iterable[str]:
    """The names: one alone, or several; each is still to be checked. Else `ConfigError`."""
    if isinstance(names, str):
        return (names,)
    if not isinstance(names, Iterable):
        raise ConfigError(f"{what} is a str, not {type(names).__name__}")
    return names


def check_pattern(pattern: str) -> str:
    """Return `pattern` if it is a pattern of topics, else raise `ConfigError`."""
    if not isinstance(pattern, str) or not pattern or "\0" in pattern:
        raise ConfigError(f"{pattern!r} is not a pattern of topics, such as sensor.*")
    return pattern


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic matches a pattern: `*`, `?` and `[...]` mean what they do in file names."""
    return fnmatchcase(topic, pattern)


def literal_prefix(pattern: str) -> str:
    """What every topic that matches begins with."""
    return re.split(r"[*?[]", pattern, maxsplit=1)[0]


def check_name(name: str) -> str:
    """Return `name` if a consumer can have it, else raise `ConfigError`."""
    try:
        fits = 0 < len(name_in_files(name)) <= _MAX_NAME_FILE
    except UnicodeEncodeError:
        fits = False
    if not fits or not name.isprintable():
        raise ConfigError(
            f"{name[:40]!r} is not the name of a consumer: use 1 to {_MAX_NAME_FILE} letters, "
            "digits, '.', '-' or '_'; fewer of other characters"
        )
    return name


def name_in_files(name: str) -> str:
    """What a file or directory is called that belongs to a consumer of this name."""
    quoted = quote(name, safe="")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def check_partition(partition: str) -> str:
    """Return `partition` if it is a partition's name, else raise `ConfigError`."""
    if not isinstance(partition, str) or not _ADDRESS.fullmatch(partition):
        raise ConfigError(
            f"partition {partition!r} is not a producer's address of 32 upper-case hex digits"
        )
    return partition


def is_host(host: str) -> bool:
    """Whether a node may announce `host` as its own; an empty one lets the tower fill it in."""
    return _HOST.fullmatch(host) is not None


def check_host(host: str) -> str:
    """Return `host` if a node can announce it, else raise `ConfigError`."""
    if not is_host(host):
        raise ConfigError(
            f"host {host[:60]!r} is not a host: use the name or the IP address under which other "
            "machines reach this one, without tcp:// and port"
        )
    return host


def check_offset(offset: object, what: str) -> None:
    """Raise `ConfigError`, naming `what` it is for, unless it can be a record's offset."""
    if type(offset) is not int or not 0 <= offset <= MAX_OFFSET:
        raise ConfigError(
            f"{what} {offset!r} is no offset: it must be a whole number from 0 to {MAX_OFFSET}"
        )
