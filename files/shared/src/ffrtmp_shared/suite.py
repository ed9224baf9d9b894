"""Suites: from the YAML that a person writes to the scenarios that a farm measures."""

from typing import Annotated, Any, Literal

import msgspec
from jsonschema import Draft202012Validator
from msgspec import Meta
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent

from ffrtmp_shared.bounds import MAX_LABELS, Name, Sha256
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.requirements import Priority, Requirements
from ffrtmp_shared.scenario import (
    MAX_GOP_FRAMES,
    MAX_THREADS,
    PIXEL_FORMATS,
    EncodeSettings,
    RatePoint,
    Scenario,
    Source,
)

MAX_JOBS = 100_000
"""The most jobs that one run may have."""

MAX_ITEMS = 1000
"""The most sources, encodes or rate points that a suite may list."""

MAX_DEADLINE_S = 31_536_000
"""The longest deadline of a job: a year."""

# The last part is the name by which an agent keeps it.
_FILE = r"^([^\x00-\x1f\x7f]*/)?[^\x00-\x1f\x7f/]{1,255}$(?!\n)"


class SuiteProblem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a suite; `line` counts from 1."""

    line: int
    message: str

    def __str__(self) -> str:
        """Name the line first, as compilers do."""
        return f"line {self.line}: {self.message}"


class SuiteError(ValueError):
    """A suite was refused; `problems` says all that was found, in the order of the lines."""

    def __init__(self, problems: list[SuiteProblem]) -> None:
        """Keep the problems and make them the message."""
        self.problems = sorted(problems, key=lambda p: p.line)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class SuiteSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A clip; `file` is a path relative to the suite, `sha256` the digest of its content."""

    name: str
    file: str
    sha256: str


class SuiteEncode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An encoder and how it is set, but for the rate."""

    name: str
    encoder: str
    preset: str | None = None
    pixel_format: str = "yuv420p"
    threads: int = 2
    gop_frames: int = 250


class OnNode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A placement on one node, by its name."""

    node: str


class Suite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sources x encodes x rate points x placement x repeats.

    `placement` is `each` (every node that fits measures every scenario), `any` (one of them
    does) or one node. `repeats` counts how often each scenario is measured on its node.
    `slowest_speed` is explained at `Scenario`. `requirements` is what a node must be or have.
    `when_unmet` says what becomes of scenarios that no node can do now: they wait for one, or
    the run is refused. `exclusive` jobs share their node with no other. An attempt that takes
    longer than `deadline_s` is ended, and its job with it.
    """

    name: str
    sources: tuple[SuiteSource, ...]
    encodes: tuple[SuiteEncode, ...]
    rate_points: tuple[RatePoint, ...]
    description: str = ""
    placement: Literal["each", "any"] | OnNode = "each"
    priority: Priority = Priority.MEDIUM
    exclusive: bool = True
    requirements: Requirements = Requirements()
    when_unmet: Literal["wait", "refuse"] = "wait"
    deadline_s: Annotated[float, Meta(gt=0, le=MAX_DEADLINE_S)] | None = None
    repeats: int = 3
    slowest_speed: Annotated[float, Meta(gt=0, le=1)] = 0.02

    def scenarios(self) -> list[Scenario]:
        """Resolve the product of sources, encodes and rate points, in the order of the file."""
        return [
            Scenario(
                name=f"{source.name}/{encode.name}/{rate.label}",
                kind="transcode",
                source=Source(
                    name=source.name,
                    sha256=source.sha256,
                    file_name=source.file.rsplit("/", 1)[-1],
                ),
                encode=_settings(encode, rate),
                slowest_speed=self.slowest_speed,
            )
            for source in self.sources
            for encode in self.encodes
            for rate in self.rate_points
        ]


def _settings(encode: SuiteEncode, rate: RatePoint) -> EncodeSettings:
    return EncodeSettings(
        encoder=encode.encoder,
        preset=encode.preset or ENCODERS[encode.encoder].default_preset,
        rate=rate,
        pixel_format=encode.pixel_format,
        threads=encode.threads,
        gop_frames=encode.gop_frames,
    )


# The pattern that every name has.
_NAME = msgspec.json.schema(Name)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a suite file, for checks and for editors."""

    def an_object(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "additionalProperties": False,
            "required": required,
            "properties": properties,
        }

    def a_list(items: dict[str, Any]) -> dict[str, Any]:
        return {"type": "array", "minItems": 1, "maxItems": MAX_ITEMS, "items": items}

    source = an_object(
        ["name", "file", "sha256"],
        {
            "name": _NAME,
            "file": {"type": "string", "maxLength": 1024, "pattern": _FILE},
            "sha256": msgspec.json.schema(Sha256),
        },
    )
    encode = an_object(
        ["name", "encoder"],
        {
            "name": _NAME,
            "encoder": {"enum": sorted(ENCODERS)},
            "preset": {"type": "string"},
            "pixel_format": {"enum": list(PIXEL_FORMATS)},
            "threads": {"type": "integer", "minimum": 1, "maximum": MAX_THREADS},
            "gop_frames": {"type": "integer", "minimum": 1, "maximum": MAX_GOP_FRAMES},
        },
    )
    rate_point = an_object(
        [],
        {
            "crf": {"type": "number", "minimum": 0, "maximum": 63},
            "bitrate_kbps": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
        },
    ) | {"minProperties": 1, "maxProperties": 1}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ffmpeg-rtmp benchmark suite",
        **an_object(
            ["name", "sources", "encodes", "rate_points"],
            {
                "name": _NAME,
                "description": {"type": "string", "maxLength": 16_384},
                "sources": a_list(source),
                "encodes": a_list(encode),
                "rate_points": a_list(rate_point),
                "placement": {
                    "anyOf": [{"enum": ["each", "any"]}, an_object(["node"], {"node": _NAME})]
                },
                "priority": {"enum": [priority.value for priority in Priority]},
                "exclusive": {"type": "boolean"},
                "requirements": an_object([], _requirements()),
                "when_unmet": {"enum": ["wait", "refuse"]},
                "deadline_s": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "maximum": MAX_DEADLINE_S,
                },
                "repeats": {"type": "integer", "minimum": 1, "maximum": 1000},
                "slowest_speed": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            },
        ),
    }


def _requirements() -> dict[str, Any]:
    """Return the schemas of what a suite may ask of its nodes; encoder and node come otherwise."""
    word = {"type": "string", "minLength": 1, "maxLength": 64}
    return {
        "architecture": word,
        "gpu": word,
        "memory_bytes_min": {"type": "integer", "minimum": 1},
        "cpu_count_min": {"type": "integer", "minimum": 1, "maximum": 65536},
        "labels": {
            "type": "object",
            "maxProperties": MAX_LABELS,
            "additionalProperties": {"type": "string", "maxLength": 128},
        },
    }


def parse(text: str) -> Suite:
    """Read a suite from YAML.

    Raises SuiteError with every problem that was found and the line that each stands on.
    """
    document = _document(text)
    problems = [
        SuiteProblem(_line_of(document, _place(error)), _explain(error))
        for error in Draft202012Validator(json_schema()).iter_errors(document)
    ]
    if problems:
        raise SuiteError(problems)
    try:
        # The document that knows its lines holds ruamel's own kinds of text and number, which no
        # encoder takes; what is kept comes from a plain reading.
        suite = msgspec.convert(YAML(typ="safe", pure=True).load(text), Suite)
    except msgspec.ValidationError as error:
        raise SuiteError([SuiteProblem(1, str(error))]) from error
    problems = [*_repeated_names(suite, document), *_refused_settings(suite, document)]
    if problems:
        raise SuiteError(problems)
    return suite


def _document(text: str) -> Any:
    """Read YAML in the form that knows its lines; raises SuiteError."""
    try:
        _check_plain(text)
        return YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = SuiteProblem(mark.line + 1 if mark else 1, f"not YAML: {error.problem}")
        raise SuiteError([problem]) from error
    except SuiteError:
        raise
    # What looks like a date and is none is a ValueError.
    except (YAMLError, ValueError, LookupError) as error:
        raise SuiteError([SuiteProblem(1, f"not YAML: {error}")]) from error
    except RecursionError as error:
        raise SuiteError([SuiteProblem(1, "nested too deeply")]) from error


def _check_plain(text: str) -> None:
    """Refuse what a suite needs not and a reader can choke on; raises SuiteError."""
    if not {"*", "!"}.intersection(text):
        return
    for event in YAML(typ="rt", pure=True).parse(text):
        if isinstance(event, AliasEvent):
            # A few aliases of aliases can stand for more than any memory holds.
            said = f"*{event.anchor}: write out what an alias stands for"
        elif getattr(event, "tag", None) is not None:
            said = f"{event.tag}: a suite has no tags"
        else:
            continue
        raise SuiteError([SuiteProblem(event.start_mark.line + 1, said)])


def _explain(error: Any) -> str:
    """Turn a schema error into what is wrong and what is allowed."""
    where = ".".join(str(part) for part in error.absolute_path) or "the suite"
    allowed = ", ".join(error.schema.get("properties", {}))
    if error.validator == "additionalProperties":
        unknown = ", ".join(sorted(map(str, set(error.instance) - set(error.schema["properties"]))))
        return f"{where}: unknown key {unknown}; allowed are {allowed}"
    if error.validator in ("minProperties", "maxProperties"):
        return f"{where}: set exactly one of {allowed}"
    if error.validator == "enum":
        choices = ", ".join(str(choice) for choice in error.validator_value)
        return f"{where}: {error.instance!r} is not known; allowed are {choices}"
    return f"{where}: {error.message}"


def _place(error: Any) -> list[str | int]:
    """Return the path of what is wrong: of an unknown key itself, not of what holds it."""
    path = list(error.absolute_path)
    if error.validator == "additionalProperties":
        path.append(min(set(error.instance) - set(error.schema["properties"]), key=str))
    return path


def _line_of(document: Any, path: list[str | int]) -> int:
    """Find the line, from 1, on which the value at `path` (or its key) stands."""
    line = 0
    for part in path:
        if not isinstance(document, CommentedBase):
            break
        position = document.lc.data.get(part) if document.lc.data else None
        if position is not None:
            line = position[0]
        document = document[part]  # type: ignore[index]
    return line + 1


def _repeated_names(suite: Suite, document: Any) -> list[SuiteProblem]:
    found = []
    for key in ("sources", "encodes"):
        seen: set[str] = set()
        for index, item in enumerate(getattr(suite, key)):
            if item.name in seen:
                line = _line_of(document, [key, index, "name"])
                found.append(SuiteProblem(line, f"{key}: the name {item.name} stands twice"))
            seen.add(item.name)
    labels: set[str] = set()
    for index, rate in enumerate(suite.rate_points):
        if rate.label in labels:
            line = _line_of(document, ["rate_points", index])
            found.append(SuiteProblem(line, f"rate_points: {rate.label} stands twice"))
        labels.add(rate.label)
    return found


def _refused_settings(suite: Suite, document: Any) -> list[SuiteProblem]:
    scenarios = len(suite.sources) * len(suite.encodes) * len(suite.rate_points)
    if scenarios > MAX_JOBS:
        return [SuiteProblem(1, f"{scenarios} scenarios; a run may have {MAX_JOBS} jobs")]
    found: dict[tuple[int, str], SuiteProblem] = {}
    for encode_index, encode in enumerate(suite.encodes):
        for rate_index, rate in enumerate(suite.rate_points):
            for message in _settings(encode, rate).problems():
                place: list[str | int] = ["encodes", encode_index]
                if "crf" in message:
                    place = ["rate_points", rate_index]
                elif "preset" in message:
                    place.append("preset")
                line = _line_of(document, place)
                found.setdefault((line, message), SuiteProblem(line, message))
    return list(found.values())
