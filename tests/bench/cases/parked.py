"""Cost of thousands of agents that wait for jobs at one master."""

from bench.context import BenchmarkContext
from bench.figures import Figure, Limit, Line
from bench.load import parked
from bench.process import in_own_process

_SUBMITTERS = 32


def measure(context: BenchmarkContext) -> Line:
    """Park the claims of many agents, measure the idle master, and submit a job for each agent."""
    rounds = context.pick(3, 1)
    agents = context.pick(2000, 200)
    idle_s = context.pick(30.0, 3.0)
    outcomes = []
    for number in range(rounds):
        with (
            context.folder() as folder,
            context.on_sqlite(folder, nodes=agents, submitters=_SUBMITTERS) as master,
        ):
            outcome = in_own_process(
                parked.run,
                master.address,
                master.pid,
                master.site.agents,
                master.site.submitters,
                viewer=master.site.viewer,
                idle_s=idle_s,
            )
            outcomes.append(outcome)
            context.log(
                f"round {number + 1}: {outcome.rss_kib_each:.0f} KiB each, "
                f"{outcome.handed_out_s:.2f} s"
            )
    return Line(
        key="parked",
        title=f"{agents:,} agents with parked claims on one process",
        conditions=(
            f"each agent is a node with a separate TLS connection; SQLite; {rounds} rounds, each "
            "with a new master",
            f"idle for {idle_s:g} s, then {agents:,} jobs from {_SUBMITTERS} submitters, each in "
            "a separate request, until every agent has its job",
        ),
        figures=(
            Figure(
                label="memory of the master per waiting agent (RSS)",
                unit="KiB",
                samples=tuple(outcome.rss_kib_each for outcome in outcomes),
                limit=Limit("under", 75),
            ),
            Figure(
                label="memory of the master per waiting agent (PSS)",
                unit="KiB",
                samples=tuple(outcome.pss_kib_each for outcome in outcomes),
            ),
            Figure(
                label="CPU of the idle master",
                unit="% of a core",
                samples=tuple(outcome.idle_cpu_percent for outcome in outcomes),
                limit=Limit("under", 1),
            ),
            Figure(
                label="a job for every agent",
                unit="s",
                samples=tuple(outcome.handed_out_s for outcome in outcomes),
                limit=Limit("under", 1.5),
            ),
            Figure(
                label="of which submitting",
                unit="s",
                samples=tuple(outcome.submitted_s for outcome in outcomes),
            ),
            Figure(
                label="claims that ended without a job",
                unit="claims",
                samples=tuple(float(outcome.empty_claims) for outcome in outcomes),
                limit=Limit("at most", 0),
            ),
            Figure(
                label="agents woken per job",
                unit="agents",
                samples=tuple(outcome.woken for outcome in outcomes),
                limit=Limit("at most", 1.01),
            ),
            Figure(
                label="agents with a spurious wake-up",
                unit="agents",
                samples=tuple(outcome.spurious for outcome in outcomes),
            ),
        ),
    )
