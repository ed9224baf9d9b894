"""The context that every benchmark case receives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from bench import cluster
from bench.cluster import Cluster
from bench.load.registration import register
from bench.master import Master, Site, on_file
from bench.process import in_own_process

T = TypeVar("T")


@dataclass(frozen=True)
class BenchmarkContext:
    """The settings of a measurement: its folder, its extent, and the log for its progress."""

    root: Path
    quick: bool
    peers_python: Path
    log: Callable[[str], None]

    def pick(self, full: T, quick: T) -> T:
        """Return `full`, or `quick` if this is a quick measurement."""
        return quick if self.quick else full

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield a temporary folder on the measured disk."""
        with TemporaryDirectory(dir=self.root, prefix="ffrtmp-bench-") as name:
            folder = Path(name)
            # PostgreSQL's server runs as another user, which must be able to enter the folder.
            folder.chmod(0o711)
            yield folder

    @contextmanager
    def postgresql(self, folder: Path) -> Iterator[Cluster]:
        """Run a PostgreSQL server in the folder."""
        with cluster.running(folder) as running:
            yield running

    @contextmanager
    def on_sqlite(
        self, folder: Path, *, nodes: int, submitters: int, name: str = "master"
    ) -> Iterator[Master]:
        """Run a master on a new SQLite file, with registered nodes."""
        site = Site.make(folder / f"{name}-site", nodes=nodes, submitters=submitters)
        master = Master(site, on_file(folder / f"{name}.db"), name)
        master.prepare()
        with master.serving():
            in_own_process(register, master.address, site.agents)
            yield master
