"""How far everybody has come, for the sentence that tells of a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.world import World


def where(world: World) -> list[str]:
    """For each partition how many records were published, and how far each node has come."""
    places = []
    for (topic, partition), records in list(world.truth.items()):
        key = (topic, partition)
        reached = [
            f"{store.process.name} {len(store.disk.get(key, ()))}"
            for store in (*world.stores, *world.c_stores)
        ]
        for node in world.living():
            if node.address == partition:
                reached.append(f"{node.process.name} acknowledged {node.machine.acked}")
            elif hasattr(node, "position"):
                reached.append(f"{node.process.name} {node.position(key)}")
        places.append(f"{topic} {partition[-4:]} of {len(records)}: {', '.join(reached)}")
    return places
