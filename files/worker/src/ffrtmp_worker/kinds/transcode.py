"""Kind `transcode`: encode a source at full speed, then measure the output and its quality."""

from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import Measurement

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import command
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.output_check import check_output
from ffrtmp_worker.kinds.steps.preparation import prepare_source
from ffrtmp_worker.kinds.steps.target_rate import check_target, resolve_rate
from ffrtmp_worker.kinds.steps.timed_run import run_timed, sum_measurements, warm_up


def run_transcode(attempt: Attempt) -> Measurement:
    """Fetch and encode the source, then check the output and compare it with the source.

    The cost of an encode in two passes is the total cost of both passes. Raises AttemptFailedError
    if a step fails.
    """
    source = prepare_source(attempt)
    requested = attempt
    attempt, search = resolve_rate(requested, source, has_quality=True)
    settings = attempt.scenario.encode
    if settings is None:
        raise AttemptFailedError(
            FailureClass.INVALID_SETTINGS, "a scenario of kind transcode needs encode settings"
        )
    ffmpeg = attempt.tools.ffmpeg
    passes = command.encode_passes(
        settings, ffmpeg, source.name, command.OUTPUT_NAME, stored=attempt.stored_frames(ffmpeg)
    )
    with attempt.watch() as watch:
        attempt.settle(watch)
        warm_up(attempt, passes[0])
        attempt.start(watch, source.name)
        encode = sum_measurements([run_timed(attempt, argv, source) for argv in passes], source)
        host = watch.finish()
    output, quality = check_output(attempt, settings, source, command.OUTPUT_NAME)
    check_target(requested, source, search, quality)
    return Measurement(
        encode=encode,
        output=output,
        quality=quality,
        environment=host.environment,
        energy=host.energy,
        gpu_energy=host.gpu_energy,
        source=source.measured,
        provenance=attempt.provenance(source.sha256, *passes),
        rate_search=search,
    )
