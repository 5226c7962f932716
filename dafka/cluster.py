"""A tower and a store in this process: the embedded default, and what tests use."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path

from dafka.config import StoreConfig, TowerAddress, TowerConfig
from dafka.errors import Closed, ConfigError
from dafka.io.green import GreenLife
from dafka.io.store import Store
from dafka.io.tower import Tower

_LOOPBACK = "tcp://127.0.0.1:*"


class Cluster(GreenLife):
    """A whole cluster for producers and consumers of this machine.

    `path` is the store's directory. Endpoints are on the loopback interface, at ports the
    system chooses, unless `tower` or `store` say otherwise; `cluster.tower` is what nodes take
    as `tower=`.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        tower: TowerConfig | None = None,
        store: StoreConfig | None = None,
    ) -> None:
        if not isinstance(path, str | PathLike):
            raise ConfigError(f"path is {path!r}: it must be the directory to keep records in")
        self._path = Path(path)
        self._tower = Tower(tower or TowerConfig(sub=_LOOPBACK, pub=_LOOPBACK))
        self._store_config = store or StoreConfig(bind=_LOOPBACK)
        self._store: Store | None = None

    @property
    def tower(self) -> TowerAddress:
        """What nodes of this cluster take as `tower=`; known once the cluster is started."""
        return self._tower.address

    @property
    def store(self) -> Store:
        """The store of this cluster; `Closed` before it is started."""
        if self._store is None:
            raise Closed("this cluster has not been started: use it in a `with`")
        return self._store

    def start(self) -> Cluster:
        """Start both nodes; `StoreError` or `ConfigError` if one cannot, and then neither runs."""
        with self._starting("a cluster"):
            self._tower.start()
            try:
                config = replace(self._store_config, data=str(self._path), tower=self.tower)
                self._store = Store(config).start()
            except BaseException:
                self._tower.stop()
                raise
            self.drivers = (*self._store.drivers, *self._tower.drivers)
        return self

    def stop(self, timeout: float | None = None) -> None:
        """End both nodes; what the store has received is written and acknowledged first."""
        if self._store is not None:
            self._store.stop(timeout)
        self._tower.stop(timeout)
