"""Tests of the version and the revision of a release."""

import sys

import pytest
from ffrtmp_shared import __version__, release_info


@pytest.mark.parametrize(
    ("prefix", "revision"),
    [
        (f"/opt/ffmpeg-rtmp/releases/{__version__}-0123456789ab/worker/venv", "0123456789ab"),
        (f"/opt/ffmpeg-rtmp/releases/{__version__}-0123/worker/venv", "unknown"),
        ("/opt/ffmpeg-rtmp/releases/9.9.9-0123456789ab/worker/venv", "unknown"),
        (sys.prefix, "unknown"),
    ],
)
def test_the_revision_is_part_of_the_directory_of_the_release(prefix: str, revision: str) -> None:
    assert release_info.revision(prefix) == revision


def test_the_build_info_contains_the_release() -> None:
    (sample,) = release_info.build_info("exporter", "Release", more="x").samples
    assert sample.name == "ffrtmp_exporter_build_info"
    assert sample.labels["version"] == __version__
    assert set(sample.labels) == {"version", "revision", "python", "more"}
