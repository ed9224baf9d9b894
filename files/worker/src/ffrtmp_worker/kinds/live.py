"""Kind `live`: stream a source in real time to the farm's RTMP server.

The stream is measured at the encoder and at a player that reads it from the server.
"""

from fractions import Fraction

import msgspec
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import EncodeMeasurement, Measurement
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import live_command, live_pipeline, process
from ffrtmp_worker.ffmpeg.live_pipeline import Broadcast, Commands
from ffrtmp_worker.ffmpeg.progress import ProgressReport
from ffrtmp_worker.kinds.steps.attempt import ENCODE_LOG_NAME, Attempt
from ffrtmp_worker.kinds.steps.encode_failures import killed
from ffrtmp_worker.kinds.steps.preparation import SourceClip, deadline_s, prepare_source
from ffrtmp_worker.kinds.steps.progress_reporter import ProgressReporter
from ffrtmp_worker.kinds.steps.received_stream import ReceivedStream
from ffrtmp_worker.kinds.steps.repeatable_source import repeatable_name
from ffrtmp_worker.measure import live
from ffrtmp_worker.measure.cgroup import MemoryLimit
from ffrtmp_worker.measure.host_watch import HostMeasurement
from ffrtmp_worker.measure.live import MissingDataError
from ffrtmp_worker.measure.rates import low_fps, rates_fps
from ffrtmp_worker.measure.rtmp_stat import ServerWatch

_FEED_NAME = "feed.nut"

_NOT_STORED = Unavailable(
    reason="the stream is stored and compared only if the suite sets measure_received"
)


def run_live(attempt: Attempt) -> Measurement:
    """Stream the source for the scenario's duration. Raises AttemptFailedError if that fails."""
    encode, settings = attempt.scenario.encode, attempt.scenario.live
    if encode is None or settings is None:
        raise AttemptFailedError(
            FailureClass.INVALID_SETTINGS, "a scenario of kind live needs encode and live settings"
        )
    if attempt.tools.rtmp_url is None:
        raise AttemptFailedError(
            FailureClass.INVALID_SETTINGS,
            "this node has no RTMP server to stream to; add a host to the group rtmp_server",
        )
    source = prepare_source(attempt)
    repeated = repeatable_name(attempt, source, attempt.tools.farm_ffmpeg, settings.duration_s)
    source = msgspec.structs.replace(source, name=repeated)
    # The name of the folder is unique to the attempt and cannot be guessed.
    url = f"{attempt.tools.rtmp_url}/{attempt.folder.name}"
    rate = source.probe.frame_rate if encode.frame_rate is None else Fraction(encode.frame_rate)
    received = ReceivedStream(attempt, url, rate) if settings.measure_received is True else None
    commands = Commands(
        feeder=live_command.feed(attempt.tools.farm_ffmpeg, source.name),
        encoder=live_command.broadcast(
            encode,
            attempt.tools.ffmpeg,
            url,
            offset_s=0 if received is None else received.recorder.offset_s,
        ),
        player=live_command.play(attempt.tools.farm_ffmpeg, url),
    )
    frame_rate = float(rate)

    reporter = ProgressReporter(attempt, frame_rate)

    def report_progress(report: ProgressReport, due_s: float | None) -> None:
        lag_s = None if due_s is None else live.lag_s(report, due_s, frame_rate)
        reporter.report(report, ratio=report.elapsed_s / settings.duration_s, lag_s=lag_s)

    with attempt.watch() as watch:
        attempt.settle(watch)
        attempt.start(watch, source.name)
        memory = MemoryLimit()
        hosts: list[HostMeasurement] = []
        tools = attempt.tools
        with ServerWatch(tools.rtmp_stat, url, settings.duration_s, tools.loops) as server:
            stream = live_pipeline.run_pipeline(
                commands,
                cwd=attempt.folder,
                log=attempt.folder / ENCODE_LOG_NAME,
                duration_s=settings.duration_s,
                stop=attempt.is_stopped,
                on_report=report_progress,
                # The host's figures do not include the frames that an encoder still finishes.
                on_end=lambda: hosts.append(watch.finish()),
                recorder=None if received is None else received.recorder,
            )
    attempt.check_stop()
    (host,) = hosts
    try:
        _check(stream, memory)
    except AttemptFailedError as error:
        # The encoder also ends if the packets from the feeder cannot be decoded.
        raise _feed_failure(attempt, source) or error from error
    try:
        measured = live.measure_live(stream, frame_rate)
    except MissingDataError as error:
        raise _unmeasurable(stream, error) from error
    player = commands.player if received is None else received.recorder.command()
    quality, parts = (_NOT_STORED, None) if received is None else received.measure(stream, source)
    attempt.check_stop()
    return Measurement(
        encode=_cost(stream, frame_rate),
        output=None,
        quality=quality,
        received=parts,
        environment=host.environment,
        energy=host.energy,
        gpu_energy=host.gpu_energy,
        source=source.measured,
        provenance=attempt.provenance(source.sha256, commands.encoder, commands.feeder, player),
        live=msgspec.structs.replace(measured, **msgspec.structs.asdict(server.summarize())),
    )


def _feed_failure(attempt: Attempt, source: SourceClip) -> AttemptFailedError | None:
    """Return the error of a source whose packets cannot be decoded as they are fed, or None."""
    ffmpeg = attempt.tools.farm_ffmpeg
    for argv in (
        live_command.store_feed(ffmpeg, source.name, _FEED_NAME),
        live_command.decode_feed(ffmpeg, _FEED_NAME),
    ):
        outcome = process.run_process(
            argv,
            cwd=attempt.folder,
            log=attempt.folder / "feed.log",
            deadline_s=deadline_s(attempt, source.probe),
            stop=attempt.is_stopped,
        )
        attempt.check_stop()
        if outcome.stopped_by is None and outcome.exit_code > 0:
            return AttemptFailedError(
                FailureClass.SOURCE_UNREADABLE,
                f"the source cannot be streamed: FFmpeg cannot decode {source.probe.codec} from a "
                "stream of packets; convert the source to another codec",
                outcome.log_tail,
            )
    return None


def _check(stream: Broadcast, memory: MemoryLimit) -> None:
    """Raise AttemptFailedError if the feeder or the encoder ended early."""
    for role, ending, failure_class in (
        # The encoder is checked first, because the feeder ends when the encoder does.
        ("encoder", stream.encoder, FailureClass.ENCODE_FAILED),
        ("feeder", stream.feeder, FailureClass.SOURCE_UNREADABLE),
    ):
        if ending.exit_code is not None:
            if ending.exit_code < 0:
                raise killed(ending.exit_code, ending.log_tail, memory)
            message = f"the {role} ended with code {ending.exit_code}"
            raise AttemptFailedError(failure_class, message, ending.log_tail)


def _unmeasurable(stream: Broadcast, error: MissingDataError) -> AttemptFailedError:
    """Return the error for a stream without enough data for a measurement."""
    if error.role == "player":
        tail = stream.players[-1].log_tail if stream.players else stream.encoder.log_tail
        message = str(error)
        if not stream.packets.elapsed_s:
            message = "the player received no packets from the RTMP server"
        return AttemptFailedError(FailureClass.NETWORK, message, tail)
    if error.role == "feeder":
        return AttemptFailedError(
            FailureClass.SOURCE_UNREADABLE, str(error), stream.feeder.log_tail
        )
    return AttemptFailedError(FailureClass.ENCODE_FAILED, str(error), stream.encoder.log_tail)


def _cost(stream: Broadcast, frame_rate: float) -> EncodeMeasurement:
    frames, encoder = stream.reports[-1].frames, stream.encoder
    if encoder.max_rss_kib is None:
        raise AttemptFailedError(FailureClass.NODE, "the encoder's memory could not be read")
    rates = rates_fps(stream.reports)
    return EncodeMeasurement(
        wall_s=stream.wall_s,
        user_s=encoder.user_s,
        system_s=encoder.system_s,
        max_rss_kib=encoder.max_rss_kib,
        frames=frames,
        fps=frames / stream.wall_s,
        speed=frames / frame_rate / stream.wall_s,
        first_frame_s=stream.reports[0].elapsed_s,
        voluntary_switches=encoder.voluntary_switches,
        involuntary_switches=encoder.involuntary_switches,
        minor_faults=encoder.minor_faults,
        major_faults=encoder.major_faults,
        fps_p1=low_fps(rates, 1),
        fps_p5=low_fps(rates, 5),
    )
