"""A run of a hundred thousand jobs is expanded and queued."""

from bench.figures import Figure, Limit, Line
from bench.load import expansion
from bench.load.expansion import Expanded
from bench.measurement import Measuring
from bench.process import in_own_process

_FLAT_MIB = 64.0


def measure(measuring: Measuring) -> Line:
    """Queue a small and a large run, each on a new master."""
    rounds = measuring.pick(3, 1)
    sizes = measuring.pick((10_000, 100_000), (1_000, 10_000))
    seen: dict[int, list[Expanded]] = {}
    for number in range(rounds):
        for jobs in sizes:
            with (
                measuring.folder() as folder,
                measuring.on_sqlite(folder, nodes=1, submitters=1) as master,
            ):
                ran = in_own_process(
                    expansion.run,
                    master.address,
                    master.pid,
                    master.site.agents[0],
                    master.site.submitters[0],
                    jobs=jobs,
                )
                seen.setdefault(jobs, []).append(ran)
                measuring.say(f"round {number + 1}: {jobs:,} jobs in {ran.seconds:.1f} s")
    small, large = sizes
    return Line(
        key="expansion",
        title=f"A run of {large:,} jobs is expanded and queued",
        conditions=(
            f"a suite of 100 rate points, repeated; {rounds} rounds, each run on a new master; "
            "SQLite; an agent asks for work all the while",
            "memory is the peak of the resident set above what it was before",
        ),
        figures=(
            Figure(
                label=f"{large:,} jobs queued",
                unit="s",
                samples=tuple(ran.seconds for ran in seen[large]),
                limit=Limit("under", 10),
            ),
            Figure(
                label=f"{small:,} jobs queued",
                unit="s",
                samples=tuple(ran.seconds for ran in seen[small]),
            ),
            Figure(
                label=f"memory for {large:,} jobs",
                unit="MiB",
                samples=tuple(ran.peak_growth_mib for ran in seen[large]),
                limit=Limit("at most", _FLAT_MIB),
            ),
            Figure(
                label=f"memory for {small:,} jobs",
                unit="MiB",
                samples=tuple(ran.peak_growth_mib for ran in seen[small]),
            ),
            Figure(
                label="longest that an agent waited for an answer meanwhile",
                unit="ms",
                samples=tuple(ran.claim.max_ms for ran in seen[large]),
            ),
        ),
    )
