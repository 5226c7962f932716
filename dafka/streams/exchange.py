"""Records change places: each goes to the worker that has its key, through a topic of that worker.

What is said is said in order, in the partition of the worker that says it: some records, or how far
event time has come there. So a worker that hears all others knows what a single process would know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from dafka.streams.batch import Batch, Failed
from dafka.streams.errors import Fault, StreamError
from dafka.streams.keyed_state import Form, hashable
from dafka.streams.operators import Operator
from dafka.streams.watermark import Told
from dafka.streams.workers import Workers, split

_PORTION_BYTES = 1 << 20
"""More than this is said in several records."""
_TRIALS = 20
_encode = msgspec.msgpack.Encoder().encode


class Portion(msgspec.Struct, array_like=True, tag=0):
    """Records for one worker, in columns: see `Batch`."""

    topic: str
    partition: str
    offsets: list[int]
    keys: list[Any]
    times: list[float] | None
    bounds: list[float] | None
    values: msgspec.Raw


class Reached(msgspec.Struct, array_like=True, tag=1):
    """How far event time has come where these records come from."""

    told: Told


_said = msgspec.msgpack.Decoder(Portion | Reached)


class Exchange(Operator):
    """Hands records over to the workers that have their keys, and takes what others hand over."""

    def __init__(
        self,
        name: str,
        on_fault: Callable[[Fault], None],
        workers: Workers,
        outs: Sequence[list[bytes]],
        kind: Any,
        largest: int,
    ) -> None:
        """`outs` take the contents for each worker, none of them larger than `largest` bytes."""
        super().__init__(name, on_fault)
        self._workers = workers
        self._outs = outs
        self._form = Form(name, list[kind], "values cannot be handed over", _TRIALS)
        self._largest = largest
        self._told: Told | None = None
        self._spoken = False

    def take(self, batch: Batch, port: int) -> Sequence[Batch]:
        """Hand over."""
        failed = self.failing(batch)
        for indices, out in zip(split(batch.keys or (), self._workers), self._outs, strict=True):
            if indices:
                self._hand(batch, indices, out, failed)
        self._spoken = True
        return ()

    def tell(self, told: Told) -> None:
        """Tell all workers how far event time has come here, if that is news to them."""
        # Who hears records believes that more may come: it has to be told once more if not. What
        # is final is told once: who has heard it may have ended, and would take it for the next.
        again = self._spoken and (told.idle or told.final)
        final = told.final and self._told is not None and self._told.final
        if again or (told != self._told and not final):
            content = _encode(Reached(told))
            for out in self._outs:
                out.append(content)
            self._told = told
        self._spoken = False

    def heard(self, content: bytes) -> Batch | Told:
        """What another worker, or this one, has said."""
        try:
            said = _said.decode(content)
            if isinstance(said, Reached):
                return said.told
            keys = [hashable(key) for key in said.keys]
            values = self._form.decode(said.values)
        except msgspec.MsgspecError as error:
            raise StreamError(
                f"operator {self.name}: what another worker has handed over cannot be read: "
                f"{error}. All workers must run the same program; where a type has changed, give "
                "new fields a default"
            ) from error
        origin = (said.topic, said.partition) if said.offsets else None
        return Batch(values, keys, said.times, said.bounds, said.offsets, origin=origin)

    def _hand(self, batch: Batch, indices: list[int], out: list[bytes], failed: Failed) -> None:
        content = self._portion(batch.at(indices))
        if len(content) <= _PORTION_BYTES:
            out.append(content)
        elif len(indices) > 1:
            half = len(indices) // 2
            self._hand(batch, indices[:half], out, failed)
            self._hand(batch, indices[half:], out, failed)
        elif len(content) <= self._largest:
            out.append(content)
        else:
            text = f"a record of {len(content)} bytes: at most {self._largest} fit"
            failed(indices[0], ValueError(text))

    def _portion(self, batch: Batch) -> bytes:
        origin = batch.place or ("", "")
        offsets = list(batch.offsets)
        values = msgspec.Raw(self._form.encode(batch.values))
        keys = batch.keys or []
        return _encode(Portion(*origin, offsets, keys, batch.times, batch.bounds, values))
