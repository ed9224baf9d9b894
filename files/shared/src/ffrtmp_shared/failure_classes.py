"""Failure classes of attempts, and which of them are retryable."""

from enum import StrEnum


class FailureClass(StrEnum):
    """The cause of a failed attempt."""

    # Caused by the job: another attempt would fail in the same way.
    INVALID_SETTINGS = "invalid_settings"
    ENCODER_UNAVAILABLE = "encoder_unavailable"
    FFMPEG_UNUSABLE = "ffmpeg_unusable"
    SOURCE_CHECKSUM = "source_checksum"
    SOURCE_UNREADABLE = "source_unreadable"
    ENCODE_FAILED = "encode_failed"
    OUTPUT_MISMATCH = "output_mismatch"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    OUT_OF_MEMORY = "out_of_memory"
    TARGET_NOT_REACHED = "target_not_reached"
    REPORT_REJECTED = "report_rejected"
    # Caused by the machine or the network: another attempt may succeed.
    LEASE_EXPIRED = "lease_expired"
    NETWORK = "network"
    NODE = "node"
    KILLED = "killed"
    STOPPED = "stopped"

    @property
    def is_retryable(self) -> bool:
        """Return whether another attempt may succeed, because the job itself is not the cause."""
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {
        FailureClass.LEASE_EXPIRED,
        FailureClass.NETWORK,
        FailureClass.NODE,
        FailureClass.KILLED,
        FailureClass.STOPPED,
    }
)
