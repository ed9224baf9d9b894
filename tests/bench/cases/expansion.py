"""Time and memory that the expansion of a run into a hundred thousand jobs takes."""

from bench.context import BenchmarkContext
from bench.figures import Figure, Limit, Line
from bench.load import expansion
from bench.load.expansion import ExpansionOutcome
from bench.process import in_own_process

_FLAT_MIB = 64.0


def measure(context: BenchmarkContext) -> Line:
    """Queue a small and a large run, each on a new master."""
    rounds = context.pick(3, 1)
    sizes = context.pick((10_000, 100_000), (1_000, 10_000))
    runs: dict[int, list[ExpansionOutcome]] = {}
    for number in range(rounds):
        for jobs in sizes:
            with (
                context.folder() as folder,
                context.on_sqlite(folder, nodes=1, submitters=1) as master,
            ):
                outcome = in_own_process(
                    expansion.run,
                    master.address,
                    master.pid,
                    master.site.agents[0],
                    master.site.submitters[0],
                    jobs=jobs,
                )
                runs.setdefault(jobs, []).append(outcome)
                context.log(f"round {number + 1}: {jobs:,} jobs in {outcome.seconds:.1f} s")
    small, large = sizes
    return Line(
        key="expansion",
        title=f"Expansion of a run of {large:,} jobs",
        conditions=(
            f"a suite of 100 rate points, repeated; {rounds} rounds, each run on a new master; "
            "SQLite; an agent sends claims throughout",
            "memory is the peak of the resident set minus its size before the run",
        ),
        figures=(
            Figure(
                label=f"{large:,} jobs queued",
                unit="s",
                samples=tuple(outcome.seconds for outcome in runs[large]),
                limit=Limit("under", 10),
            ),
            Figure(
                label=f"{small:,} jobs queued",
                unit="s",
                samples=tuple(outcome.seconds for outcome in runs[small]),
            ),
            Figure(
                label=f"memory for {large:,} jobs",
                unit="MiB",
                samples=tuple(outcome.peak_growth_mib for outcome in runs[large]),
                limit=Limit("at most", _FLAT_MIB),
            ),
            Figure(
                label=f"memory for {small:,} jobs",
                unit="MiB",
                samples=tuple(outcome.peak_growth_mib for outcome in runs[small]),
            ),
            Figure(
                label="longest response time of a claim during the run",
                unit="ms",
                samples=tuple(outcome.claim.max_ms for outcome in runs[large]),
            ),
        ),
    )
