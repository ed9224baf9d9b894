"""Tests of the reading of values from files of the kernel."""

from pathlib import Path

import pytest
from ffrtmp_worker.kernel_files import (
    KernelFileError,
    find_int,
    find_text,
    read_int,
    read_text,
)


def test_values_are_read_without_white_space(tmp_path: Path) -> None:
    file = tmp_path / "max_energy_range_uj"
    file.write_text("262143328850\n")
    assert read_text(file) == "262143328850"
    assert read_int(file) == find_int(file) == 262143328850


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "cannot be read"), (None, "cannot be read"), (b"max\n", "an integer: 'max'")],
)
def test_what_is_not_an_integer_is_an_error_or_none(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "value"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(KernelFileError, match=message):
        read_int(file)
    assert find_int(file) is None


def test_a_file_that_is_refused_is_not_offered(tmp_path: Path) -> None:
    # Reading a directory fails even for root, as for some files of the kernel.
    with pytest.raises(KernelFileError, match="cannot be read"):
        read_text(tmp_path)
    assert find_text(tmp_path) is None
