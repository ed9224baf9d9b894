"""Repeatability of the density search."""

from pathlib import Path
from statistics import median

from bench.context import BenchmarkContext
from bench.figures import Figure, Limit, Line
from bench.worker import Worker

_ROOT = Path(__file__).resolve().parents[3]
_FFMPEG = _ROOT / ".cache/ffmpeg/ffmpeg"
_CLIP = _ROOT / "files/media/bigbuckbunny-720p.mp4"
_RATE = {"bitrate_kbps": 3000, "max_kbps": 3000, "buffer_kbit": 6000}


def measure(context: BenchmarkContext) -> Line:
    """Repeat the search for the number of streams that this computer sustains."""
    searches = context.pick(3, 2)
    window_s, verify_s = context.pick((20, 40), (5, 5))
    encode = {
        "kind": "density",
        "encoder": "libx264",
        "preset": "veryfast",
        "threads": 1,
        "gop_frames": 50,
        "options": {"tune": "zerolatency"},
        "window_s": window_s,
        "verify_s": verify_s,
    }
    streams: list[float] = []
    with (
        context.folder() as folder,
        context.on_sqlite(folder, nodes=1, submitters=1) as master,
    ):
        worker = Worker(master, folder, ffmpeg=_FFMPEG, ffprobe=Path("/usr/bin/ffprobe"))
        with worker.working():
            for _ in range(searches):
                found = worker.measure(_CLIP, encode, _RATE).measurement.density
                assert found is not None
                streams.append(found.streams)
                tried = ", ".join(
                    f"{step.streams}{'' if step.held else ' (no)'}" for step in found.steps
                )
                context.log(f"{found.streams} streams; tried {tried}; limit: {found.limit}")
    return Line(
        key="density",
        title="Repeatability of a density search",
        conditions=(
            f"{searches} consecutive searches for 720p streams, x264 veryfast, zerolatency, 1 "
            f"thread, 3,000 kbit/s; windows of {window_s} s, verification over {verify_s} s",
            "the master runs on the same computer",
        ),
        figures=(
            Figure(label="streams", unit="", samples=tuple(streams)),
            Figure(
                label="maximum deviation of a search from the median",
                unit="streams",
                samples=(max(abs(found - median(streams)) for found in streams),),
                limit=Limit("at most", 1),
            ),
        ),
    )
