"""What every line of the benchmark is given to work with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from bench import cluster
from bench.cluster import Cluster
from bench.load.joining import register
from bench.master import Master, Site, on_file
from bench.process import in_own_process

T = TypeVar("T")


@dataclass(frozen=True)
class Measuring:
    """Where to work, how long to measure, and who is told how it goes."""

    root: Path
    quick: bool
    peers_python: Path
    say: Callable[[str], None]

    def pick(self, whole: T, quick: T) -> T:
        """Return the amount for a whole measurement, or for one that only tries it out."""
        return quick if self.quick else whole

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give a folder on the disk that is measured; it goes when the context ends."""
        with TemporaryDirectory(dir=self.root, prefix="ffrtmp-bench-") as name:
            folder = Path(name)
            # PostgreSQL's server runs as a user of its own and must get through.
            folder.chmod(0o711)
            yield folder

    @contextmanager
    def postgresql(self, folder: Path) -> Iterator[Cluster]:
        """Run a PostgreSQL in the folder."""
        with cluster.running(folder) as running:
            yield running

    @contextmanager
    def on_sqlite(
        self, folder: Path, *, nodes: int, submitters: int, name: str = "master"
    ) -> Iterator[Master]:
        """Serve with one master on a new SQLite file, with its nodes registered."""
        site = Site.make(folder / f"{name}-site", nodes=nodes, submitters=submitters)
        master = Master(site, on_file(folder / f"{name}.db"), name)
        master.prepare()
        with master.serving():
            in_own_process(register, master.address, site.agents)
            yield master
