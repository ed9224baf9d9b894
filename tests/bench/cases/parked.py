"""Thousands of agents that wait on one process."""

from bench.figures import Figure, Limit, Line
from bench.load import parked
from bench.measurement import Measuring
from bench.process import in_own_process

_SUBMITTERS = 32


def measure(measuring: Measuring) -> Line:
    """Park agents on a fresh master, watch it idle, and give each of them a job."""
    rounds = measuring.pick(3, 1)
    agents = measuring.pick(2000, 200)
    idle_s = measuring.pick(30.0, 3.0)
    seen = []
    for number in range(rounds):
        with (
            measuring.folder() as folder,
            measuring.on_sqlite(folder, nodes=agents, submitters=_SUBMITTERS) as master,
        ):
            ran = in_own_process(
                parked.run,
                master.address,
                master.pid,
                master.site.agents,
                master.site.submitters,
                viewer=master.site.viewer,
                idle_s=idle_s,
            )
            seen.append(ran)
            measuring.say(
                f"round {number + 1}: {ran.rss_kib_each:.0f} KiB each, {ran.handed_out_s:.2f} s"
            )
    return Line(
        key="parked",
        title=f"{agents:,} agents that wait on one process",
        conditions=(
            f"each a node with its own TLS connection; SQLite; {rounds} rounds, a new master each",
            f"idle for {idle_s:g} s, then {agents:,} jobs from {_SUBMITTERS} submitters, each in "
            "a request of its own, until every agent has its job",
        ),
        figures=(
            Figure(
                label="memory of an agent that waits (RSS)",
                unit="KiB",
                samples=tuple(ran.rss_kib_each for ran in seen),
                limit=Limit("under", 75),
            ),
            Figure(
                label="memory of an agent that waits (PSS)",
                unit="KiB",
                samples=tuple(ran.pss_kib_each for ran in seen),
            ),
            Figure(
                label="CPU of the idle master",
                unit="% of a core",
                samples=tuple(ran.idle_cpu_percent for ran in seen),
                limit=Limit("under", 1),
            ),
            Figure(
                label="a job for every agent",
                unit="s",
                samples=tuple(ran.handed_out_s for ran in seen),
                limit=Limit("under", 1.5),
            ),
            Figure(
                label="of which submitting",
                unit="s",
                samples=tuple(ran.submitted_s for ran in seen),
            ),
            Figure(
                label="claims that ended without a job meanwhile",
                unit="claims",
                samples=tuple(float(ran.empty_handed) for ran in seen),
                limit=Limit("at most", 0),
            ),
            Figure(
                label="agents woken for a job",
                unit="agents",
                samples=tuple(ran.woken for ran in seen),
                limit=Limit("at most", 1.01),
            ),
            Figure(
                label="agents woken in vain, of all",
                unit="agents",
                samples=tuple(ran.in_vain for ran in seen),
            ),
        ),
    )
