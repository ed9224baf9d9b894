"""Division of a slot's busy time into the stages of its jobs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.context import BenchmarkContext
from bench.figures import Figure, Limit, Line
from bench.stage_recorder import StageRecorder
from bench.worker import Worker

_ROOT = Path(__file__).resolve().parents[3]
_FFMPEG = _ROOT / ".cache/ffmpeg/ffmpeg"
_DURATION_S = 10
_ENCODES = (
    {"name": "x264", "encoder": "libx264", "preset": "medium", "rate_points": [{"crf": 23}]},
    {"name": "x265", "encoder": "libx265", "preset": "fast", "rate_points": [{"crf": 28}]},
    {"name": "svtav1", "encoder": "libsvtav1", "preset": "8", "rate_points": [{"crf": 35}]},
)
_STAGES = {
    "fetch": "fetch",
    "source_check": "probe and characterise the source",
    "warm_up": "warm-up",
    "encode": "encode",
    "output_check": "check of the output",
    "quality": "quality",
    "report": "report",
}
_MEASURED = ("warm_up", "encode")

_Repeat = Mapping[str, float]


def measure(context: BenchmarkContext) -> Line:
    """Run a suite with the agent's caches, and a shorter one without them."""
    repeats, uncached_repeats = context.pick(6, 2), context.pick(2, 1)
    context.log("with caches")
    cached = _run(context, repeats)
    context.log("without caches")
    uncached = _run(context, uncached_repeats, measurement_cache_max_bytes=0)
    return Line(
        key="stages",
        title="Stages of the jobs of a slot",
        conditions=(
            f"{repeats} repeats of x264 medium, x265 fast and SVT-AV1 8, 2 threads each, of a "
            f"synthetic `motion` of {_DURATION_S} s at 720p with 30 frames per second; warm-up of "
            "1 s",
            "each value is the sum over the three jobs of a repeat; the first repeat generates "
            "the source and fills the caches",
            f"without caches: {uncached_repeats} repeats with `measurement_cache_max_bytes: 0`",
            "the busy time is that from the begin of the first stage of a job until its report "
            "is delivered; the master runs on the same computer",
        ),
        figures=(
            *_figures("first repeat", cached[:1]),
            *_figures("later repeats", cached[1:]),
            *_figures("without caches", uncached),
            Figure(
                label="encodes and their warm-up, part of the busy time without caches",
                unit="%",
                samples=(_share_percent(uncached),),
            ),
            Figure(
                label="the same with caches, in later repeats",
                unit="%",
                samples=tuple(_share_percent([repeat]) for repeat in cached[1:]),
            ),
            Figure(
                label="the same with caches, in all repeats",
                unit="%",
                samples=(_share_percent(cached),),
                limit=Limit("at least", 60),
            ),
        ),
    )


def _run(context: BenchmarkContext, repeats: int, **settings: object) -> list[_Repeat]:
    """Run the suite with the agent's settings; return the seconds in each stage by repeat."""
    suite = {
        "name": "stages",
        "sources": [
            {
                "name": "motion",
                "synthetic": {
                    "content": "motion",
                    "width": 1280,
                    "height": 720,
                    "frame_rate": "30",
                    "duration_s": _DURATION_S,
                },
            }
        ],
        "encodes": list(_ENCODES),
        # The benchmark has registered the node without these encoders; the agent adds them.
        "placement": "any",
        "when_unmet": "wait",
        "repeats": repeats,
        "slowest_speed": 0.01,
    }
    with (
        context.folder() as folder,
        context.on_sqlite(folder, nodes=1, submitters=1) as master,
        StageRecorder(folder / "progress", context.log) as recorder,
    ):
        worker = Worker(
            master,
            folder,
            ffmpeg=_FFMPEG,
            ffprobe=Path("/usr/bin/ffprobe"),
            progress_socket=str(folder / "progress"),
            **settings,
        )
        with worker.working():
            worker.run_suite(suite, jobs=repeats * len(_ENCODES))
    # The agent reports that it is idle at its end, after the last report.
    jobs = recorder.jobs()
    return [
        _sum(jobs[start : start + len(_ENCODES)]) for start in range(0, len(jobs), len(_ENCODES))
    ]


def _sum(jobs: Sequence[Mapping[str, float]]) -> _Repeat:
    """Return the seconds in each stage, over all jobs."""
    return {stage: sum(job.get(stage, 0.0) for job in jobs) for stage in _STAGES}


def _figures(name: str, repeats: Sequence[_Repeat]) -> list[Figure]:
    return [
        Figure(
            label=f"{name}: {label}",
            unit="s",
            samples=tuple(repeat[stage] for repeat in repeats),
        )
        for stage, label in _STAGES.items()
    ]


def _share_percent(repeats: Sequence[_Repeat]) -> float:
    """Return the part of the busy time in which encodes and their warm-up run, in percent."""
    measured_s = sum(repeat[stage] for repeat in repeats for stage in _MEASURED)
    return 100 * measured_s / sum(seconds for repeat in repeats for seconds in repeat.values())
