"""The received stream of a live: storage during the stream, and its quality after the stream."""

import shutil
from fractions import Fraction

from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.live_measurement import ReceivedMeasurement
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.stages import Stage
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.ffmpeg import live_command, stream_recorder
from ffrtmp_worker.ffmpeg.live_pipeline import Broadcast
from ffrtmp_worker.ffmpeg.stream_recorder import StreamRecorder
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.measure.quality import Clip, QualityPass
from ffrtmp_worker.measure.received_quality import ReceivedPass, measure_received


class ReceivedStream:
    """The stream that the player of a live receives, stored in the work folder of the attempt."""

    def __init__(self, attempt: Attempt, url: str, frame_rate: Fraction) -> None:
        """Prepare the storage of the stream with this URL and frame rate."""
        self._attempt, self._frame_rate = attempt, frame_rate
        tools = attempt.tools
        max_bytes, limit_name = tools.received_max_bytes, "worker_received_max_bytes"
        left_bytes = shutil.disk_usage(attempt.folder).free - tools.min_free_bytes
        if left_bytes < max_bytes:
            max_bytes, limit_name = max(left_bytes, 0), "free space without worker_min_free_bytes"
        self.recorder = StreamRecorder(
            attempt.folder,
            lambda file_name: live_command.play_and_store(tools.farm_ffmpeg, url, file_name),
            offset_s=live_command.stream_offset_s(frame_rate),
            max_bytes=max_bytes,
            limit_name=limit_name,
        )

    def measure(
        self, stream: Broadcast, source: Clip
    ) -> tuple[QualityMeasurement | Unavailable, ReceivedMeasurement | Unavailable]:
        """Compare the received frames with the source and remove the stored stream.

        Returns the quality of all received frames and of the parts of the stream. Both are
        unavailable for the same reason.
        """
        attempt, encode = self._attempt, self._attempt.scenario.encode
        try:
            problem = self._join()
            if problem:
                return Unavailable(reason=problem), Unavailable(reason=problem)
            attempt.report(Progress(stage=Stage.QUALITY, frames=len(stream.packets.time_s)))
            how = ReceivedPass(
                quality=QualityPass(
                    ffmpeg=attempt.tools.quality_ffmpeg,
                    folder=attempt.folder,
                    threads=attempt.quality_threads,
                    deadline_s=stream.wall_s / attempt.scenario.slowest_speed,
                    calibration=attempt.tools.calibration,
                ),
                ffprobe=attempt.tools.ffprobe,
                farm_ffmpeg=attempt.tools.farm_ffmpeg,
                offset_s=self.recorder.offset_s,
                frame_rate=self._frame_rate,
                is_converted=encode is not None and encode.frame_rate is not None,
            )
            found = measure_received(
                how,
                stored=stream_recorder.NAME,
                packets=stream.packets,
                reference=source,
                stop=attempt.is_stopped,
            )
        finally:
            self.recorder.remove()
        return (found, found) if isinstance(found, Unavailable) else found

    def _join(self) -> str:
        try:
            return self.recorder.join()
        except OSError as error:
            return f"the received stream was not stored: {error.strerror or error}"
