"""Tests that the modules and the distributions of the farm use the same rules for texts."""

from pathlib import Path

import pytest
from ansible.module_utils.ffrtmp import results, runs
from ansible.module_utils.ffrtmp import value_rules as of_modules
from ansible.module_utils.ffrtmp.errors import CorruptError, SettingsError
from ffrtmp_shared import value_rules as of_farm


def test_the_modules_and_the_farm_have_one_definition(root: Path) -> None:
    """Check that a copy that replaces the link would be noticed if it differs."""
    assert of_modules.RULES == of_farm.RULES
    assert Path(of_modules.__file__).read_bytes() == Path(of_farm.__file__).read_bytes()
    assert Path(of_modules.__file__).is_relative_to(root / "module_utils")


@pytest.mark.parametrize("key", ["a\nb", "a\tb", "\u00fc", "x" * 256])
def test_a_key_that_the_master_would_refuse_is_refused_first(key: str) -> None:
    with pytest.raises(SettingsError, match="key must be 1 to 255 printable ASCII characters"):
        runs.check_key(key)
    runs.check_key("nightly 2026-11-30")


def test_a_file_name_with_a_line_feed_is_refused() -> None:
    with pytest.raises(CorruptError):
        results.check_name("ffmpeg.log\n")
