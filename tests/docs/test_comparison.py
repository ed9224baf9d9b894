"""Tests of the comparison, which accepts actual answers that contain more than the shown ones."""

import pytest

from .comparison import difference
from .page import Fence


@pytest.mark.parametrize(
    ("shown", "actual"),
    [
        ('{"a": 1}', '{"a": 1, "b": 2}'),
        ('{"a": "…"}', '{"a": 1.5}'),
        ('{"a": "of …"}', '{"a": "of all"}'),
        ('{"a": {"b": null}}', '{"a": {"b": null, "c": 1}}'),
        ('[{"a": 1}, "…"]', '[{"a": 1}, {"a": 2}, 3]'),
        ('[1, "…"]', "[1]"),
        ('{"a": 1}\n{"a": "…"}', '{"a": 1}\n{"a": 2}\n'),
    ],
)
def test_json_may_be_abbreviated(shown: str, actual: str) -> None:
    assert difference(Fence("json", shown, 1), actual) is None


@pytest.mark.parametrize(
    ("shown", "actual", "message"),
    [
        ('{"a": 1}', '{"b": 1}', ".a was not returned"),
        ('{"a": 1}', '{"a": 2}', ".a is 2, not 1"),
        ('{"a": 1}', '{"a": true}', ".a is True, not 1"),
        ('{"a": "of …"}', '{"a": "all"}', ".a is 'all', not 'of …'"),
        ('{"a": [1]}', '{"a": [1, 2]}', ".a has 2 items, not 1"),
        ('[1, 2, "…"]', "[1]", "has 1 items, not 2"),
        ('{"a": {"b": 1}}', '{"a": 1}', ".a is not an object"),
        ('{"a": 1}', '{"a": 1}\n{"a": 1}', "1 documents are shown, 2 were returned"),
        ('{"a": 1}', "", "1 documents are shown, 0 were returned"),
    ],
)
def test_different_json_is_found(shown: str, actual: str, message: str) -> None:
    assert message in str(difference(Fence("json", shown, 1), actual))


def test_lines_of_text_may_be_omitted() -> None:
    assert difference(Fence("text", "one …\n…\nlast\n", 1), "one 1\r\ntwo\r\nlast") is None


@pytest.mark.parametrize(
    "actual", ["", "one\n", "one\nthree\n", "one\ntwo\nthree\n", "one.\ntwo\n"]
)
def test_different_text_is_found(actual: str) -> None:
    assert difference(Fence("text", "one\ntwo\n", 1), actual) == f"actual:\n{actual}"
