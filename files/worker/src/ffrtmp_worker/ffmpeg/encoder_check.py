"""Test of an encoder on this node with a short encode, because a listed one may not work."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from ffrtmp_worker.ffmpeg import command, process

_DEADLINE_S = 60.0


class EncoderCheck(msgspec.Struct, frozen=True):
    """Result of the test of an encoder, with the last lines of FFmpeg's log."""

    works: bool
    log_tail: str


def check_encoder(
    encoder: str, ffmpeg: Path, stop: Callable[[], bool] = lambda: False
) -> EncoderCheck:
    """Test an encoder with a short encode.

    Args:
        encoder: The name of a supported encoder.
        ffmpeg: The FFmpeg to use.
        stop: A function that returns true when the test is to stop.

    Returns:
        Whether the encoder works, and the end of FFmpeg's log.

    Raises:
        OSError: FFmpeg cannot be started.
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
