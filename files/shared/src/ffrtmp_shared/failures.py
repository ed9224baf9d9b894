"""Why an attempt failed, and whether another attempt could do better."""

from enum import StrEnum


class FailureClass(StrEnum):
    """Whose fault a failed attempt was."""

    # The job's own fault: the next attempt would end the same way.
    INVALID_SETTINGS = "invalid_settings"
    ENCODER_UNAVAILABLE = "encoder_unavailable"
    FFMPEG_UNUSABLE = "ffmpeg_unusable"
    SOURCE_CHECKSUM = "source_checksum"
    SOURCE_UNREADABLE = "source_unreadable"
    ENCODE_FAILED = "encode_failed"
    OUTPUT_MISMATCH = "output_mismatch"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    OUT_OF_MEMORY = "out_of_memory"
    # The machine's or the network's fault: worth another try.
    LEASE_EXPIRED = "lease_expired"
    NETWORK = "network"
    NODE = "node"
    KILLED = "killed"
    STOPPED = "stopped"

    @property
    def is_retryable(self) -> bool:
        """Whether the failure was the machine's or the network's and not the job's own."""
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
