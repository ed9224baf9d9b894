"""Tests of the rules for texts and numbers from outside the farm."""

import json
import re
from typing import Any

import msgspec
import pytest
from ffrtmp_shared import value_rules
from ffrtmp_shared.constrained_types import Line, Name, Real, Url
from ffrtmp_shared.value_rules import TextFaultError
from hypothesis import given
from hypothesis import strategies as st
from property_budget import budget

_ANY_TEXT = st.text(st.characters(codec=None), max_size=40)
_DOCUMENTS = st.recursive(
    _ANY_TEXT | st.integers() | st.none(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_ANY_TEXT, below, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("url", "is_accepted"),
    [
        ("https://clips.example/a.mp4", True),
        ("http://clips.example:8080/a?b=c#d", True),
        ("https://[2001:db8::1]:443/a", True),
        ("https://clips.example/a@b", True),
        ("https://clips.example", True),
        ("https://me:secret@clips.example/a", False),
        ("https://me@clips.example/a", False),
        ("https://@clips.example/a", False),
        ("https://a.example:80@clips.example/a", False),
        ("https://a.example\\@clips.example/a", False),
        ("https:///a", False),
        ("https://?a", False),
        ("ftp://clips.example/a", False),
        ("https://clips.example/\n", False),
        ("https://clips.example/a b", False),
        ("https://clips.example/\u00e4", False),
    ],
)
def test_urls(url: str, is_accepted: bool) -> None:
    assert bool(re.search(value_rules.URL, url)) is is_accepted
    decoder = msgspec.json.Decoder(Url)
    if is_accepted:
        assert decoder.decode(msgspec.json.encode(url)) == url
    else:
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(msgspec.json.encode(url))


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0xD800, 0xDFFF])
def test_control_characters_and_surrogates_are_faults(code: int) -> None:
    text = f"a{chr(code)}b"
    if text in ("a\tb", "a\nb", "a\rb"):
        assert value_rules.fault_of(text) == ""
        return
    assert f"U+{code:04X}" in value_rules.fault_of(text)
    assert value_rules.clean_text(text) == "a\ufffdb"
    for document in (text, {"k": [1, text]}, {text: 1}):
        with pytest.raises(TextFaultError, match=f"U\\+{code:04X}"):
            value_rules.check_json_texts(json.dumps(document).encode())


@pytest.mark.property
@budget(100)
@given(_DOCUMENTS, st.booleans())
def test_every_fault_in_a_document_is_found(document: Any, is_ascii: bool) -> None:
    texts: list[str] = []

    def collect(value: Any) -> None:
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            for item in value:
                collect(item)
        elif isinstance(value, dict):
            for key, item in value.items():
                texts.append(key)
                collect(item)

    collect(document)
    content = json.dumps(document, ensure_ascii=is_ascii).encode(errors="surrogatepass")
    if not is_ascii and any("\ud800" <= char <= "\udfff" for text in texts for char in text):
        # This is not valid UTF-8, which the decoder of the document reports.
        with pytest.raises((UnicodeDecodeError, msgspec.DecodeError)):
            msgspec.json.decode(content)
        return
    faults = [text for text in texts if value_rules.fault_of(text)]
    if faults:
        with pytest.raises(TextFaultError) as found:
            value_rules.check_json_texts(content)
        assert len(found.value.errors) == len(faults)
        assert not any(value_rules.fault_of(error) for error in found.value.errors)
    else:
        value_rules.check_json_texts(content)


@pytest.mark.property
@budget(50)
@given(_ANY_TEXT)
def test_clean_text_is_accepted_and_changes_only_faults(text: str) -> None:
    clean = value_rules.clean_text(text)
    assert value_rules.fault_of(clean) == ""
    assert len(clean) == len(text)
    assert (clean == text) is (not value_rules.fault_of(text))


@budget(50)
@given(document=_DOCUMENTS, is_ascii=st.booleans())
def test_a_cleaned_document_is_accepted(document: Any, is_ascii: bool) -> None:
    text = json.dumps(document, ensure_ascii=is_ascii)
    try:
        content = text.encode()
    except UnicodeEncodeError:
        content = json.dumps(document).encode()
    cleaned = value_rules.clean_json_texts(content)
    value_rules.check_json_texts(cleaned)
    if next(value_rules.find_faults(document), None) is None:
        assert json.loads(cleaned) == document


def test_a_document_that_is_not_json_is_left_to_its_decoder() -> None:
    value_rules.check_json_texts(b'{"a": "\\u0000')
    value_rules.check_json_texts(b"[" * 100_000 + b"\x7f")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1+cmd", "'+1+cmd"),
        ("-1+cmd", "'-1+cmd"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("-1.5", "-1.5"),
        ("+2e-3", "+2e-3"),
        ("clip=1", "clip=1"),
        ("", ""),
        (-1.5, -1.5),
        (None, None),
    ],
)
def test_a_cell_is_never_a_formula(value: object, cell: object) -> None:
    assert value_rules.csv_cell(value) == cell


@pytest.mark.parametrize(
    ("wire_type", "value", "rule"),
    [
        (Name, "a b", "must be 1 to 64 letters, digits"),
        (Line, "a\nb", "must be 1 to 255 characters without control characters"),
        (Url, "https://me:secret@h/", "without user, password"),
    ],
)
def test_a_mismatch_is_explained_without_the_text(wire_type: Any, value: str, rule: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(value, wire_type)
    explanation = value_rules.explain_mismatch(str(error.value))
    assert explanation is not None
    assert rule in explanation
    assert value not in explanation


def test_other_errors_are_not_explained() -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(-1e19, Real)
    assert value_rules.explain_mismatch(str(error.value)) is None


def test_every_pattern_has_a_description() -> None:
    patterns = {
        value
        for name, value in vars(value_rules).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, str)
    } - {value_rules.END}
    assert patterns == set(value_rules.RULES)
