"""A tower and a store that work while this thread does something else."""

from __future__ import annotations

from os import PathLike

import dafka.cluster
from dafka.config import StoreConfig, TowerAddress, TowerConfig
from dafka.threads.shell import Shell
from dafka.validity import check_timeout


class Cluster(Shell[dafka.cluster.Cluster]):
    """A whole cluster for producers and consumers of this machine, see `dafka.Cluster`."""

    _kind = "cluster"

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        tower: TowerConfig | None = None,
        store: StoreConfig | None = None,
    ) -> None:
        """Opens nothing; `path` is the store's directory."""
        super().__init__(dafka.cluster.Cluster(path, tower=tower, store=store))

    @property
    def tower(self) -> TowerAddress:
        """What nodes of this cluster take as `tower=`; known once the cluster is started."""
        return self._there(lambda: self._node.tower)

    def stop(self, timeout: float | None = None) -> None:
        """End both nodes; what the store has received is written and acknowledged first."""
        if self._done:
            return
        timeout = check_timeout(timeout)
        self._stopped = True
        self._leave(lambda: self._node.stop(timeout))
