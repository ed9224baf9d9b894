"""Probe of a file whose digest is known, from the node's cache if possible."""

from pathlib import PurePath

from ffrtmp_worker.ffmpeg.probe import VideoProbe, probe_video
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.measure.measurement_cache import measurement_key

_VERSION = 2
"""Version of the computation of a probe's properties from the output of ffprobe."""


def probe_or_load(attempt: Attempt, name: str, sha256: str) -> tuple[VideoProbe, bool]:
    """Return the properties of a file in the attempt's folder, and whether they were cached.

    A file about which ffprobe complains is probed each time.

    Args:
        attempt: The attempt.
        name: The name of the file. ffprobe takes its suffix into account.
        sha256: The digest of its content.

    Raises:
        UnreadableFileError: The file has no readable video, or the attempt is to stop.
        OSError: ffprobe cannot be started.
    """
    tools = attempt.tools
    producer = tools.probe_producer()
    key = measurement_key(
        "probe", _VERSION, producer, sha256, PurePath(name).suffix, tools.max_packets
    )
    cached = tools.measurements.load(key, VideoProbe, attempt.cache_record.add_fault)
    if cached is not None:
        return cached.value, True
    found = probe_video(
        tools.ffprobe,
        attempt.folder / name,
        stop=attempt.is_stopped,
        max_packets=tools.max_packets,
    )
    # A program that was replaced meanwhile may be the one that measured.
    if not found.complaints and tools.probe_producer() == producer:
        tools.measurements.store(key, found)
    return found, False
