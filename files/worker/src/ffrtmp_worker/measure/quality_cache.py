"""Cached quality of a known output: the pooled scores, and the scores of every frame."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ffrtmp_shared.measurement import QualityMeasurement

from ffrtmp_worker.measure.frame_scores import UnreadableScoresError, compact_log, restore_log
from ffrtmp_worker.measure.measurement_cache import (
    CacheRecord,
    MeasurementCache,
    Producer,
    measurement_key,
)

_VERSION = 1
"""Version of the computation of the scores: the command, and the statistics over the frames."""


@dataclass(frozen=True, kw_only=True)
class QualityCache:
    """The entries of the node's cache for the comparison of one output with one source.

    Attributes:
        cache: The cache.
        record: The record of the attempt.
        name: The name of the quality in the measurement.
        source_sha256: The digest of the source's content.
        output_sha256: The digest of the output's content.
        producer: The agent and the FFmpeg that compare.
        find_producer: A function that returns them as they are now.
    """

    cache: MeasurementCache
    record: CacheRecord
    name: str
    source_sha256: str
    output_sha256: str
    producer: Producer
    find_producer: Callable[[], Producer]

    def load(self, graph: str, log: Path) -> QualityMeasurement | None:
        """Return the quality and write the scores of every frame, or return None if it is unknown.

        Args:
            graph: The filter graph, which contains the model and all settings of the pass. The
                number of threads must always be the same, because scores do not depend on it.
            log: The file that receives the scores, in the form of libvmaf's log.

        Raises:
            OSError: The log cannot be written.
        """
        key = self._key(graph)
        found = self.cache.load(key, QualityMeasurement, self.record.add_fault)
        if found is None or key is None:
            return None
        try:
            restore_log(found.attachment, log)
        except UnreadableScoresError as error:
            self.cache.remove(key)
            self.record.add_fault(f"{self.name}: {error}")
            return None
        self.record.add_value(self.name)
        return found.value

    def store(self, graph: str, log: Path, measured: QualityMeasurement) -> None:
        """Store the quality with the scores in libvmaf's log.

        Nothing is stored if the FFmpeg was replaced since the cache was searched.

        Raises OSError if the log cannot be read.
        """
        key = self._key(graph)
        if key is not None and self.find_producer() == self.producer:
            self.cache.store(key, measured, compact_log(log))

    def _key(self, graph: str) -> str | None:
        digests = (self.source_sha256, self.output_sha256)
        return measurement_key("quality", _VERSION, self.producer, *digests, graph)
