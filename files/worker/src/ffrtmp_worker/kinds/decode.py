"""Kind `decode`: decode a source and discard the frames, to measure decoding alone."""

from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import command
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.preparation import prepare_source
from ffrtmp_worker.kinds.steps.timed_run import run_timed, warm_up


def run_decode(attempt: Attempt) -> Measurement:
    """Fetch and decode the source. Raises AttemptFailedError if a step fails."""
    source = prepare_source(attempt)
    settings = attempt.scenario.decode
    if settings is None:
        raise AttemptFailedError(
            FailureClass.INVALID_SETTINGS, "a scenario of kind decode needs decode settings"
        )
    ffmpeg = attempt.tools.ffmpeg
    argv = command.decode_timed(
        settings.threads, ffmpeg, source.name, stored=attempt.stored_frames(ffmpeg)
    )
    with attempt.watch() as watch:
        attempt.settle(watch)
        warm_up(attempt, argv)
        attempt.start(watch, source.name)
        decode = run_timed(attempt, argv, source)
        host = watch.finish()
    if decode.frames != source.probe.frames:
        raise AttemptFailedError(
            FailureClass.SOURCE_UNREADABLE,
            f"{decode.frames} of the source's {source.probe.frames} frames can be decoded",
        )
    return Measurement(
        encode=decode,
        output=None,
        quality=Unavailable(reason="a decode has no output to compare"),
        environment=host.environment,
        energy=host.energy,
        gpu_energy=host.gpu_energy,
        source=source.measured,
        provenance=attempt.provenance(source.sha256, argv),
    )
