"""Decides what is told about bytes that are no message, and messages that are no bytes.

Imports nothing of the package, so that every part of it can raise these errors.
"""

from __future__ import annotations

__all__ = ["LocalProtocolError", "ProtocolError", "RemoteProtocolError"]


class ProtocolError(Exception):
    """Bytes and message do not fit: `field` is the name of what is wrong.

    It begins, or would begin, at byte `position` of frame `frame`, both counted from 0.
    """

    def __init__(self, reason: str, field: str, position: int = 0, frame: int = 0) -> None:
        super().__init__(reason, field, position, frame)
        self.reason = reason
        self.field = field
        self.position = position
        self.frame = frame

    def __str__(self) -> str:
        return f"{self.reason} (field {self.field}, byte {self.position} of frame {self.frame})"


class LocalProtocolError(ProtocolError):
    """A message of our own cannot be encoded: a fault of this program."""


class RemoteProtocolError(ProtocolError):
    """What a peer sent is not a message: to be counted and dropped, never a reason to stop."""
