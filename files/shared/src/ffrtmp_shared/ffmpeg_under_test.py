"""The FFmpeg under test: the farm's own, or one that a suite provides with its digest."""

import msgspec

from ffrtmp_shared.constrained_types import Name, Sha256, Url


class FfmpegUnderTest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One of the FFmpegs that a suite compares, identified by its name in the suite.

    If `sha256` is None, this is the farm's own FFmpeg. Otherwise `sha256` is the lower-case
    hexadecimal digest of the program, and the worker downloads the program from `url`, or from the
    master if `url` is None.
    """

    name: Name
    sha256: Sha256 | None = None
    url: Url | None = None

    def __post_init__(self) -> None:
        """Reject a URL without a digest, because its content could change."""
        if self.url is not None and self.sha256 is None:
            raise ValueError("an FFmpeg with a url needs its sha256")

    @property
    def is_given(self) -> bool:
        """Return whether the suite provides the program. It is then foreign code on the node."""
        return self.sha256 is not None
