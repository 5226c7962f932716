"""A tower as the reference's is one."""

from __future__ import annotations

import zmq

from tests.support.reference_node import ReferenceThread


class ReferenceTower(ReferenceThread):
    """Forwards beacons with three frames, checks nothing, and welcomes who connects."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        """`host` stands for the address of the tower's first non-loopback interface."""
        super().__init__("tower")
        self.host = host
        self.sub = self.pub = ""
        self.beacons: list[list[bytes]] = []
        """Every node beacon, as it came."""

    def __str__(self) -> str:
        return f"{self.sub},{self.pub}"

    def open(self) -> None:
        self._xsub = self.socket(zmq.XSUB, self._on_beacons)
        self.sub = self.bound(self._xsub)
        self._xsub.send(b"\1B")
        self._xpub = self.socket(zmq.XPUB, lambda _: None)
        self._xpub.setsockopt(zmq.XPUB_WELCOME_MSG, b"W")
        self.pub = self.bound(self._xpub)
        self._swallowing = False

    def _on_beacons(self, messages: list[list[bytes]]) -> None:
        for frames in messages:
            self.beacons.append(frames)
            if self._swallowing:
                # A lone `B` before: this message is taken for its fields.
                self._swallowing = False
                self._forward([b"B", *frames])
            elif frames == [b"B"]:
                self._swallowing = True
            else:
                self._forward(frames)

    def _forward(self, frames: list[bytes]) -> None:
        _, address, host, port = (*frames[:4], *[b""] * (4 - len(frames)))
        try:
            number = int(port)
        except ValueError:
            number = 0
        endpoint = f"tcp://{host.decode('latin-1') or self.host}:{number}"
        self._xpub.send_multipart([frames[0], address, endpoint.encode()])
