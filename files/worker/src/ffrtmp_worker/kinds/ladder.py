"""Kind `ladder`: encode several renditions of a source, in one process or one process each."""

from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import EncodeMeasurement, Measurement, RenditionMeasurement
from ffrtmp_shared.scenario import LadderSettings, Rendition
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import command
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.output_check import check_output
from ffrtmp_worker.kinds.steps.preparation import SourceClip, prepare_source
from ffrtmp_worker.kinds.steps.timed_run import run_timed, sum_measurements, warm_up
from ffrtmp_worker.measure import quality
from ffrtmp_worker.measure.quality import Clip


def run_ladder(attempt: Attempt) -> Measurement:
    """Fetch the source, encode all renditions, then check each and compare it with the source.

    Raises AttemptFailedError if a step fails.
    """
    source = prepare_source(attempt)
    settings = attempt.scenario.ladder
    if settings is None:
        raise AttemptFailedError(
            FailureClass.INVALID_SETTINGS, "a scenario of kind ladder needs ladder settings"
        )
    argvs = _commands(attempt, settings, source)
    with attempt.watch() as watch:
        attempt.settle(watch)
        warm_up(attempt, argvs[0])
        attempt.start(watch, source.name)
        costs = [run_timed(attempt, argv, source) for argv in argvs]
        host = watch.finish()
    # The cost of a shared process cannot be divided among its outputs.
    rendition_costs = costs if not settings.together else [None] * len(settings.renditions)
    return Measurement(
        encode=sum_measurements(costs, source),
        output=None,
        quality=Unavailable(reason="the quality of a ladder is measured for each rendition"),
        environment=host.environment,
        energy=host.energy,
        gpu_energy=host.gpu_energy,
        source=source.measured,
        provenance=attempt.provenance(source.sha256, *argvs),
        renditions=tuple(
            _rendition(attempt, rendition, source, number, cost)
            for number, (rendition, cost) in enumerate(
                zip(settings.renditions, rendition_costs, strict=True)
            )
        ),
    )


def _commands(attempt: Attempt, settings: LadderSettings, source: Clip) -> list[list[str]]:
    ffmpeg = attempt.tools.ffmpeg
    encodes = [rendition.encode for rendition in settings.renditions]
    stored = attempt.stored_frames(ffmpeg)
    outputs = [_output(number) for number in range(len(encodes))]
    if settings.together:
        return [command.ladder(encodes, ffmpeg, source.name, outputs, stored=stored)]
    return [
        command.encode(encode, ffmpeg, source.name, output, stored=stored)
        for encode, output in zip(encodes, outputs, strict=True)
    ]


def _rendition(
    attempt: Attempt,
    rendition: Rendition,
    source: SourceClip,
    number: int,
    cost: EncodeMeasurement | None,
) -> RenditionMeasurement:
    output, compared = check_output(
        attempt, rendition.encode, source, _output(number), f"renditions.{rendition.name}."
    )
    scores = attempt.folder / quality.LOG_NAME
    if scores.exists():
        # The next rendition would overwrite the file.
        scores.rename(attempt.folder / quality.log_name(rendition.name))
    return RenditionMeasurement(name=rendition.name, encode=cost, output=output, quality=compared)


def _output(number: int) -> str:
    return f"rendition-{number}.mp4"
