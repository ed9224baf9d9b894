"""The FFmpeg that is under test: the farm's own, or one that a suite gives with its digest."""

import msgspec

from ffrtmp_shared.constrained_types import Name, Sha256, Url


class FfmpegUnderTest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One of the FFmpegs that a suite compares, by the name that the suite gives it.

    Without `sha256` it is the farm's own. Otherwise `sha256` is the lower-case hexadecimal digest
    of the program; the master has it as it has sources, unless `url` says where a worker finds it.
    """

    name: Name
    sha256: Sha256 | None = None
    url: Url | None = None

    def __post_init__(self) -> None:
        """Refuse a program whose content is not fixed."""
        if self.url is not None and self.sha256 is None:
            raise ValueError("an FFmpeg from a url needs its sha256")

    @property
    def is_given(self) -> bool:
        """Whether it is another than the farm's own, and so code that a suite brings to a node."""
        return self.sha256 is not None
