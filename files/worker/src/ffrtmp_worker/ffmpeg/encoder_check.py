"""Proving that an encoder works here, with a short encode: what FFmpeg lists says less."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from ffrtmp_worker.ffmpeg import command, process

_DEADLINE_S = 60.0


class EncoderCheck(msgspec.Struct, frozen=True):
    """Whether an encoder works, and what FFmpeg said at the end."""

    works: bool
    log_tail: str


def check_encoder(
    encoder: str, ffmpeg: Path, stop: Callable[[], bool] = lambda: False
) -> EncoderCheck:
    """Try a known encoder of the FFmpeg at `ffmpeg`; give up when `stop()` is true.

    Raises OSError when the FFmpeg cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="ffrtmp-proof-") as name:
        folder = Path(name)
        outcome = process.run_process(
            command.proof(encoder, ffmpeg.absolute(), command.OUTPUT_NAME),
            cwd=folder,
            log=folder / "proof.log",
            deadline_s=_DEADLINE_S,
            stop=stop,
        )
        file = folder / command.OUTPUT_NAME
        works = outcome.exit_code == 0 and file.exists() and file.stat().st_size > 0
    return EncoderCheck(works, outcome.log_tail)
