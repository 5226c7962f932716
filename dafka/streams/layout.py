"""Which operator's state is whose: numbers that stay the same when a topology grows."""

from __future__ import annotations

from dafka.streams.errors import StreamError
from dafka.streams.topology import Topology

Known = dict[str, tuple[int, str]]
"""An operator's number, and what it keeps, by its name."""


def lay_out(topology: Topology, known: Known, where: str) -> Known:
    """Numbers for all operators that keep something; those in `known` have one already.

    Raises `StreamError` if what is kept `where` is of an operator that is gone or has changed.
    """
    keeping = {node.name: node.keeps for node in topology.nodes if node.keeps}
    for name, (_, kept) in known.items():
        now = keeping.get(name)
        if now != kept:
            what = "is not in the topology any more" if now is None else f"is now: {now}"
            raise StreamError(
                f"{where} keeps the state of operator {name!r} ({kept}), which {what}: give the "
                "operators the names they had (name=…), or begin anew with another directory"
            )
    laid = dict(known)
    free = max((number for number, _ in known.values()), default=0) + 1
    for name, kept in keeping.items():
        if name not in laid:
            laid[name] = (free, kept)
            free += 1
    return laid


def numbers(laid: Known) -> dict[str, int]:
    """The numbers alone."""
    return {name: number for name, (number, _) in laid.items()}
