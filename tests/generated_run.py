"""Directories with generated results of a run, whose speeds have a known distribution."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from ffrtmp_client.result_files import RunResults
from ffrtmp_client.saved_results import read_saved_results
from ffrtmp_shared.ids import new_id
from measurement_factory import measurement

_NOISE = 0.01
_TIME = "2026-01-02T03:04:05Z"


@dataclass(frozen=True)
class GeneratedRun:
    """Properties of a run whose results are generated.

    Attributes:
        speed: The median of the speeds, relative to a usual one.
        noise: The standard deviation of the logarithms of the speeds.
        repeats: The number of repeats.
        clips: The number of clips.
        ffmpegs: The names of the FFmpeg builds, with the relative speed of each.
        nodes: The names of the nodes, with the relative speed of each.
        encodes: The names of the encodes, with the relative speed of each.
        reason: The reason for which all results are degraded, if any.
        clock_mhz: The frequency of the CPUs.
        bitrate_kbps: The bit rate, which is the same in all repeats.
        control_speeds: The speeds of the first and the last control encode, if there were any.
    """

    speed: float = 1.0
    noise: float = _NOISE
    repeats: int = 10
    clips: int = 2
    ffmpegs: dict[str, float] = field(default_factory=lambda: {"": 1.0})
    nodes: dict[str, float] = field(default_factory=lambda: {"worker1": 1.0})
    encodes: dict[str, float] = field(default_factory=lambda: {"x264": 1.0})
    reason: str | None = None
    clock_mhz: float = 3000.0
    bitrate_kbps: float = 1000.0
    control_speeds: tuple[float, float] | None = None


def write_run(directory: Path, seed: int, run: GeneratedRun) -> Path:
    """Write the results of a run to a directory, and return it.

    Args:
        directory: The directory, which is created.
        seed: The seed of the noise.
        run: What the results are generated from.
    """
    chance = random.Random(seed)  # noqa: S311 - it is a simulation
    results = [
        _result(run, chance, (repeat, clip, node, build, encode))
        for repeat in range(1, run.repeats + 1)
        for clip in range(run.clips)
        for node in run.nodes
        for build in run.ffmpegs
        for encode in run.encodes
    ]
    drifts = [
        {
            "node": node,
            "n": 2,
            "first_speed": run.control_speeds[0],
            "last_speed": run.control_speeds[1],
            "ratio": run.control_speeds[1] / run.control_speeds[0],
            "is_unusual": False,
            "low": 4.8,
            "high": 5.2,
        }
        for node in run.nodes
        if run.control_speeds is not None
    ]
    document = {
        "farm": "",
        "run": {
            "id": str(new_id()),
            "key": "generated",
            "suite_name": "generated",
            "state": "succeeded",
            "counts": {"succeeded": len(results)},
            "created_at": _TIME,
            "finished_at": _TIME,
            "seed": seed,
        },
        "results": results,
        "precision": {"medians": [], "drifts": drifts, "looks": [], "interval": None},
    }
    directory.mkdir(parents=True)
    (directory / "results.json").write_text(json.dumps(document))
    return directory


def generate_run(directory: Path, seed: int, run: GeneratedRun) -> RunResults:
    """Return the results of a run that `write_run` writes."""
    return read_saved_results(write_run(directory, seed, run))


def _result(
    run: GeneratedRun, chance: random.Random, place: tuple[int, int, str, str, str]
) -> dict[str, Any]:
    repeat, clip, node, build, encode = place
    factor = run.speed * run.nodes[node] * run.ffmpegs[build] * run.encodes[encode]
    factor *= chance.lognormvariate(0, run.noise)
    measured: dict[str, Any] = json.loads(msgspec.json.encode(measurement()))
    measured["encode"] |= {"speed": 2 * factor, "wall_s": 2 / factor, "user_s": 3.5 / factor}
    measured["encode"]["system_s"] = 0.0
    measured["energy"] |= {"gross_j": 64 / factor, "duration_s": 2 / factor}
    measured["environment"]["cpu_frequency_mhz"] = run.clock_mhz
    measured["output"]["video_bitrate_kbps"] = run.bitrate_kbps
    measured["provenance"]["ffmpeg"]["sha256"] = (build.encode().hex() or "f").ljust(64, "0")
    reasons = [] if run.reason is None else [{"code": run.reason, "detail": "generated"}]
    measured["verdict"] = {"state": "degraded" if reasons else "valid", "reasons": reasons}
    return {
        "id": str(new_id()),
        "run_id": "",
        "job_id": str(new_id()),
        "attempt": 1,
        "node": node,
        "repeat": repeat,
        "scenario": {
            "name": f"clip{clip}/{encode}/800k",
            "kind": "transcode",
            "source": {"name": f"clip{clip}"},
            "encode": {
                "encoder": "libx264",
                "preset": "medium",
                "rate": {"bitrate_kbps": 800},
                "options": {},
            },
            "ffmpeg": {"name": build} if build else None,
        },
        "measurement": measured,
        "artifacts": [],
        "stored_at": _TIME,
    }
