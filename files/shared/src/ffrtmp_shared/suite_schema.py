"""JSON Schema of suite files, for validation and for editors."""

from typing import Any, get_args

import msgspec

from ffrtmp_shared import value_rules
from ffrtmp_shared.constrained_types import MAX_LABELS, Name, Sha256, Url
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.requirements import Priority, WhenUnmet
from ffrtmp_shared.scenario import (
    PIXEL_FORMATS,
    FrameRate,
    Pixels,
    QualitySettings,
    Seconds,
    Threads,
    WarmUp,
)
from ffrtmp_shared.suite_limits import (
    MAX_BUDGET_S,
    MAX_CPU_COUNT,
    MAX_DEADLINE_S,
    MAX_GOP_FRAMES,
    MAX_ITEMS,
    MAX_LIVE_S,
    MAX_MEMORY_BYTES,
    MAX_REPEATS,
    MAX_VMAF,
    MAX_VMAF_TOLERANCE,
    MIN_INTERVAL,
    MIN_LIVE_S,
    MIN_SPEED,
    MIN_VMAF,
    MIN_VMAF_TOLERANCE,
)

# This matches paths that FFmpeg or a tool could interpret as a protocol or an option, and paths of
# directories.
_NO_FILE = r"^[A-Za-z][A-Za-z0-9+.,-]*:|^-|/-[^/]*$|(^|/)\.{1,2}$"

_ENCODER_FIELDS = (
    "encoder",
    "preset",
    "pixel_format",
    "threads",
    "gop_frames",
    "frame_rate",
    "options",
)

_SEARCH_FIELDS = ("window_s", "verify_s", "max_lag_s", "max_streams")

_STREAM_FIELDS = ("duration_s", "measure_received")

FIELDS_OF_KIND: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "transcode": (
        ("encoder",),
        ("name", "kind", "ffmpegs", *_ENCODER_FIELDS, "width", "height", "rate_points"),
    ),
    "ladder": (
        ("encoder", "renditions"),
        ("name", "kind", "ffmpegs", *_ENCODER_FIELDS, "renditions", "together"),
    ),
    "decode": ((), ("name", "kind", "threads", "ffmpegs")),
    "density": (
        ("encoder",),
        (
            "name", "kind", "ffmpegs", *_ENCODER_FIELDS, "width", "height", "rate_points",
            *_SEARCH_FIELDS,
        ),
    ),
    "live": (
        ("encoder",),
        (
            "name", "kind", "ffmpegs", *_ENCODER_FIELDS, "width", "height", "rate_points",
            *_STREAM_FIELDS,
        ),
    ),
}  # fmt: skip
"""The required fields and the allowed fields of an encode, by its kind."""


def _text_or_number(
    schema: dict[str, Any], least: int = 0, most: int = value_rules.MAX_INTEGER
) -> dict[str, Any]:
    """Return the schema of a text that may be a whole number without quotes.

    `suite_numbers` converts such numbers to texts.
    """
    return schema | {"type": ["string", "integer"], "minimum": least, "maximum": most}


_NAME = _text_or_number(msgspec.json.schema(Name))
_FRAME_RATE = _text_or_number(msgspec.json.schema(FrameRate), 1, 999_999)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a suite file."""
    rate_point = _rate_point()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ffmpeg-rtmp benchmark suite",
        **_an_object(
            ["name", "sources", "encodes"],
            {
                "name": _NAME,
                "description": {
                    "type": "string",
                    "maxLength": 16_384,
                    "pattern": value_rules.PROSE,
                },
                "sources": _a_list(_source()),
                "encodes": _a_list(_encode(rate_point)),
                "ffmpegs": _a_list(_ffmpeg()),
                "compare": _a_list(_pair()),
                "rate_points": _a_list(rate_point),
                "placement": {
                    "anyOf": [{"enum": ["each", "any"]}, _an_object(["node"], {"node": _NAME})]
                },
                "priority": {"enum": [priority.value for priority in Priority]},
                "exclusive": {"type": "boolean"},
                "requirements": _an_object([], _requirements()),
                "when_unmet": {"enum": list(get_args(WhenUnmet))},
                "deadline_s": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "maximum": MAX_DEADLINE_S,
                },
                "repeats": {"type": "integer", "minimum": 1, "maximum": MAX_REPEATS},
                "precision": _precision(),
                "control": {"type": "boolean"},
                "quality": _an_object(
                    [],
                    {name: {"type": "boolean"} for name in QualitySettings.__struct_fields__},
                ),
                "slowest_speed": {"type": "number", "minimum": MIN_SPEED, "maximum": 1},
                "warm_up_s": msgspec.json.schema(WarmUp),
            },
        ),
    }


def _precision() -> dict[str, Any]:
    return _an_object(
        [],
        {
            "interval": {"type": "number", "minimum": MIN_INTERVAL, "maximum": 1},
            "max_repeats": {"type": "integer", "minimum": 1, "maximum": MAX_REPEATS},
            "budget_s": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_BUDGET_S},
        },
    )


def _source() -> dict[str, Any]:
    return _an_object(["name"], {"name": _NAME, **_content(), "synthetic": _synthetic()})


def _ffmpeg() -> dict[str, Any]:
    return _an_object(["name"], {"name": _NAME, **_content()})


def _pair() -> dict[str, Any]:
    """Return the schema of a pair of FFmpeg builds or nodes."""
    names = {"type": "array", "minItems": 2, "maxItems": 2, "items": _NAME}
    return _an_object([], {"ffmpegs": names, "nodes": names})


def _content() -> dict[str, Any]:
    """Return the schemas of the fields that locate a file."""
    return {
        "file": {
            "type": "string",
            "maxLength": 1024,
            # The last part of the path is the name under which an agent stores the file.
            "pattern": value_rules.FILE_PATH,
            "not": {"pattern": _NO_FILE},
        },
        "url": msgspec.json.schema(Url),
        "sha256": msgspec.json.schema(Sha256),
    }


def _encode(rate_point: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "encoder": {"enum": sorted(ENCODERS)},
        "preset": _text_or_number({"maxLength": 64, "pattern": value_rules.LABEL}),
        "pixel_format": {"enum": list(PIXEL_FORMATS)},
        "threads": msgspec.json.schema(Threads),
        "gop_frames": {"type": "integer", "minimum": 1, "maximum": MAX_GOP_FRAMES},
        "frame_rate": _FRAME_RATE,
        "options": {
            "type": "object",
            "maxProperties": 16,
            "propertyNames": {"type": "string", "pattern": r"^[a-z][a-z0-9_-]{0,63}$(?!\n)"},
            "additionalProperties": _text_or_number(
                {"pattern": r"^[A-Za-z0-9_.-]{1,64}$(?!\n)"}, most=1_000_000
            ),
        },
    }
    pixels = msgspec.json.schema(Pixels)
    size = {"width": pixels, "height": pixels}
    rendition = _an_object(["name", "rate"], {"name": _NAME, "rate": rate_point, **size})
    return _an_object(
        ["name"],
        {
            "name": _NAME,
            "kind": {"enum": list(FIELDS_OF_KIND)},
            **settings,
            **size,
            "rate_points": _a_list(rate_point),
            "renditions": {"type": "array", "minItems": 1, "maxItems": 16, "items": rendition},
            "together": {"type": "boolean"},
            "ffmpegs": _a_list(_NAME),
            **dict.fromkeys(("window_s", "verify_s", "max_lag_s"), msgspec.json.schema(Seconds)),
            "max_streams": {"type": "integer", "minimum": 1, "maximum": 1024},
            "duration_s": {"type": "number", "minimum": MIN_LIVE_S, "maximum": MAX_LIVE_S},
            "measure_received": {"type": "boolean"},
        },
    )


def _synthetic() -> dict[str, Any]:
    pixels = msgspec.json.schema(Pixels)
    properties = {
        "content": {"enum": ["still", "motion", "noise", "animation"]},
        "width": pixels,
        "height": pixels,
        "frame_rate": _FRAME_RATE,
        "duration_s": msgspec.json.schema(Seconds),
    }
    return _an_object(list(properties), properties)


def _rate_point() -> dict[str, Any]:
    kbps = {"type": "integer", "minimum": 1, "maximum": 1_000_000}
    return _an_object(
        [],
        {
            "crf": {"type": "number", "minimum": 0, "maximum": 63},
            "cq": {"type": "integer", "minimum": 0, "maximum": 255},
            "bitrate_kbps": kbps,
            "passes": {"type": "integer", "minimum": 1, "maximum": 2},
            "max_kbps": kbps,
            "buffer_kbit": {"type": "integer", "minimum": 1, "maximum": 10_000_000},
            "vmaf": {"type": "number", "minimum": MIN_VMAF, "maximum": MAX_VMAF},
            "vmaf_tolerance": {
                "type": "number",
                "minimum": MIN_VMAF_TOLERANCE,
                "maximum": MAX_VMAF_TOLERANCE,
            },
        },
    )


def _an_object(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


def _a_list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "maxItems": MAX_ITEMS, "items": items}


def _requirements() -> dict[str, Any]:
    """Return the schemas of the requirements that a suite may state.

    The encoder and the node are not among them: they follow from the encodes and the placement.
    """
    limits = {"minLength": 1, "maxLength": 64, "pattern": value_rules.LABEL}
    word = _text_or_number(limits)
    return {
        "architecture": word,
        "gpu": word,
        "memory_bytes_min": {"type": "integer", "minimum": 1, "maximum": MAX_MEMORY_BYTES},
        "cpu_count_min": {"type": "integer", "minimum": 1, "maximum": MAX_CPU_COUNT},
        "labels": {
            "type": "object",
            "maxProperties": MAX_LABELS,
            "propertyNames": {"type": "string"} | limits,
            "additionalProperties": _text_or_number(
                {"maxLength": 128, "pattern": value_rules.LABEL}
            ),
        },
    }
