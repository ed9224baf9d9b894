"""How long a claim takes beside a long history, and behind jobs that nobody can do."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from bench import seeding
from bench.figures import Figure, Limit, Line, ratios
from bench.load import cycles, joining, patterns
from bench.load.timing import Latency
from bench.master import Master, Site, on_file
from bench.measurement import Measuring
from bench.process import in_own_process

_AGENTS = 50
_SUBMITTERS = 16
_UNMET_SETS = 100
_DAY_S = 86_400.0
_EMPTY, _FULL, _BEHIND = "empty history", "long history", "behind others"


def measure(measuring: Measuring) -> Line:
    """Claim from three masters in turn, alike but for what else is in their databases."""
    # Many short rounds: what disturbs the computer for a while disturbs few of them.
    rounds = measuring.pick(21, 3)
    seconds = 2.0
    queued = measuring.pick(10_000, 1_000)
    finished = measuring.pick(1_000_000, 20_000)
    seen: dict[str, list[Latency]] = {}
    with measuring.folder() as folder, ExitStack() as stack:
        site = Site.make(folder / "site", nodes=_AGENTS, submitters=_SUBMITTERS)
        masters = {
            _EMPTY: _filled(folder, site, "empty", queued=queued, finished=0, unmet=0),
            _FULL: _filled(folder, site, "full", queued=queued, finished=finished, unmet=0),
            _BEHIND: _filled(folder, site, "behind", queued=queued, finished=0, unmet=queued),
        }
        measuring.say("the databases are filled")
        counts = {name: _before(folder, master) for name, master in masters.items()}
        for master in masters.values():
            stack.enter_context(master.serving())
        for number in range(rounds):
            names = list(masters)
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                master = masters[name]
                ran = in_own_process(
                    cycles.run,
                    master.address,
                    master.pid,
                    site.agents,
                    site.submitters,
                    seconds=seconds,
                    backlog=_AGENTS,
                    drain=False,
                )
                seen.setdefault(name, []).append(ran.latencies["claim"])
                counts[name] += ran.submitted - ran.handed_out
                measuring.say(f"round {number + 1}: {name} {ran.latencies['claim'].p99_ms:.1f} ms")
        stack.close()
        _check(folder, masters, counts)
    return _line(seen, rounds=rounds, seconds=seconds, queued=queued, finished=finished)


def _filled(
    folder: Path, site: Site, name: str, *, queued: int, finished: int, unmet: int
) -> Master:
    """Make a master whose database holds so many jobs of each kind."""
    database = folder / f"{name}.db"
    master = Master(site, on_file(database), name)
    master.prepare()
    with master.serving():
        in_own_process(joining.register, master.address, site.agents)
        made = in_own_process(
            patterns.make,
            master.address,
            site.agents[0],
            site.submitters[0],
            unmet=_UNMET_SETS if unmet else 0,
        )
    if finished:
        seeding.copy_job(database, made.finished, finished, oldest_s_ago=365 * _DAY_S)
    seeding.copy_job(database, made.queued, queued, oldest_s_ago=_DAY_S / 24)
    for job_id in made.unmet:
        seeding.copy_job(database, job_id, unmet // _UNMET_SETS, oldest_s_ago=_DAY_S)
    return master


def _before(folder: Path, master: Master) -> int:
    return seeding.count(folder / f"{master.name}.db", "queued")


def _check(folder: Path, masters: Mapping[str, Master], counts: Mapping[str, int]) -> None:
    """Raise LookupError unless what is queued is what was, and came, and was not taken."""
    for name, master in masters.items():
        found = _before(folder, master)
        if found != counts[name]:
            raise LookupError(f"{name}: {found} jobs are queued, and should be {counts[name]}")


def _line(
    seen: Mapping[str, list[Latency]], *, rounds: int, seconds: float, queued: int, finished: int
) -> Line:
    p99 = {name: [latency.p99_ms for latency in each] for name, each in seen.items()}
    p50 = {name: [latency.p50_ms for latency in each] for name, each in seen.items()}
    return Line(
        key="history",
        title="A claim beside a long history, and behind jobs that nobody can do",
        conditions=(
            f"{_AGENTS} agents in full cycles, as busy as they can be, {queued:,} jobs queued "
            f"throughout; SQLite; {rounds} rounds of {seconds:g} s on each of three masters, whose "
            "ratios are taken round by round",
            f"the long history: {finished:,} finished jobs with their transitions and results",
            f"behind others: {queued:,} older jobs, of {_UNMET_SETS} sets of requirements that no "
            "node meets, stand ahead",
        ),
        figures=(
            *(
                Figure(label=f"claim {word}, {name}", unit="ms", samples=tuple(each[name]))
                for name in seen
                for word, each in (("p50", p50), ("p99", p99))
            ),
            *(
                Figure(
                    label=f"p99, {name} / {_EMPTY}",
                    unit="times",
                    samples=ratios(p99[name], p99[_EMPTY]),
                    limit=Limit("at most", 1.3),
                )
                for name in (_FULL, _BEHIND)
            ),
        ),
    )
