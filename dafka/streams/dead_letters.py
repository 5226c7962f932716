"""What is written to a dead-letter topic."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from dafka.streams.errors import Fault


def letter(fault: Fault) -> bytes:
    """A fault, and the record it happened at, as JSON."""
    told: dict[str, Any] = {
        "operator": fault.operator,
        "error": f"{type(fault.error).__name__}: {fault.error}",
    }
    if fault.topic:
        told |= {"topic": fault.topic, "partition": fault.partition, "offset": fault.offset}
    if fault.content is not None:
        try:
            told["text"] = fault.content.decode()
        except UnicodeDecodeError:
            told["base64"] = base64.b64encode(fault.content).decode()
    return msgspec.json.encode(told)
