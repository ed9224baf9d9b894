"""What is shown is held against what came: more may come, nothing else may."""

import pytest

from .comparison import difference
from .page import Fence


@pytest.mark.parametrize(
    ("shown", "came"),
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
def test_json_may_be_shown_shortened(shown: str, came: str) -> None:
    assert difference(Fence("json", shown, 1), came) is None


@pytest.mark.parametrize(
    ("shown", "came", "said"),
    [
        ('{"a": 1}', '{"b": 1}', ".a did not come"),
        ('{"a": 1}', '{"a": 2}', ".a is 2, not 1"),
        ('{"a": 1}', '{"a": true}', ".a is True, not 1"),
        ('{"a": "of …"}', '{"a": "all"}', ".a is 'all', not 'of …'"),
        ('{"a": [1]}', '{"a": [1, 2]}', ".a has 2 items, not 1"),
        ('[1, 2, "…"]', "[1]", "has 1 items, not 2"),
        ('{"a": {"b": 1}}', '{"a": 1}', ".a is no object"),
        ('{"a": 1}', '{"a": 1}\n{"a": 1}', "1 documents are shown, 2 came"),
        ('{"a": 1}', "", "1 documents are shown, 0 came"),
    ],
)
def test_json_that_is_shown_wrongly_is_found(shown: str, came: str, said: str) -> None:
    assert said in str(difference(Fence("json", shown, 1), came))


def test_text_may_have_lines_that_are_not_shown() -> None:
    assert difference(Fence("text", "one …\n…\nlast\n", 1), "one 1\r\ntwo\r\nlast") is None


@pytest.mark.parametrize("came", ["", "one\n", "one\nthree\n", "one\ntwo\nthree\n", "one.\ntwo\n"])
def test_text_that_is_shown_wrongly_is_found(came: str) -> None:
    assert difference(Fence("text", "one\ntwo\n", 1), came) == f"came:\n{came}"
