"""Suites: parsing and validation of the YAML, and resolution of a suite into scenarios."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from jsonschema import Draft202012Validator
from msgspec import Meta

from ffrtmp_shared import control_encode
from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest
from ffrtmp_shared.precision import Precision
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.requirements import Priority, Requirements, WhenUnmet
from ffrtmp_shared.scenario import (
    ALL_SCORES,
    COMPARED_KINDS,
    DecodeSettings,
    EncodeSettings,
    QualitySettings,
    Scenario,
    Source,
    WarmUp,
    stream_faults,
)
from ffrtmp_shared.suite_encodes import SuiteEncode
from ffrtmp_shared.suite_inputs import InputFile, SuiteFfmpeg, SuiteSource
from ffrtmp_shared.suite_limits import MAX_DEADLINE_S, MAX_JOBS, MIN_SPEED
from ffrtmp_shared.suite_numbers import ambiguous_numbers, with_texts
from ffrtmp_shared.suite_pairs import SuitePair
from ffrtmp_shared.suite_schema import FIELDS_OF_KIND, json_schema
from ffrtmp_shared.suite_schema_errors import error_path, explain_error
from ffrtmp_shared.suite_yaml import (
    MAX_PROBLEMS,
    SuiteError,
    SuiteProblem,
    dotted,
    problem_at,
    read_yaml,
    to_plain,
)

__all__ = [
    "OnNode",
    "Suite",
    "SuiteError",
    "SuiteProblem",
    "json_schema",
    "parse_suite",
]

_Path = list[str | int]
_Input = TypeVar("_Input", Source, FfmpegUnderTest)

# The kinds of encodes that result in one scenario for each rate point.
_AT_RATES = ("transcode", "density", "live")

_WARMED_UP = ("transcode", "ladder", "decode")


class OnNode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The placement of all jobs on one node, which is given by its name."""

    node: str


class Suite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A suite: sources x encodes x rate points x FFmpegs x placement x repeats.

    Attributes:
        name: The name of the suite.
        sources: The clips to encode.
        encodes: The encodes that are applied to each source.
        rate_points: The rate points for encodes that have none of their own.
        ffmpegs: The FFmpegs to compare. If there are none, the farm's own FFmpeg is used.
        compare: The pairs of FFmpeg builds or nodes whose jobs are neighbors in the queue.
        description: A text for readers of the suite.
        placement: With `each`, every suitable node measures every scenario. With `any`, one
            suitable node measures each scenario. Otherwise the given node measures all scenarios.
        priority: The priority of the jobs.
        exclusive: Whether a job does not share its node with other jobs.
        requirements: The properties that a node must have.
        when_unmet: What happens if no active node supports a scenario. With `wait`, its jobs wait
            for such a node. With `refuse`, the run is rejected. If it is None, the jobs wait if a
            registered node that is offline or draining supports the scenario; otherwise the run is
            rejected.
        deadline_s: The maximum duration of an attempt. If an attempt takes longer, its job fails.
        repeats: The number of times that each scenario is measured on its node. With `precision`,
            this is the minimum.
        slowest_speed: See `Scenario`.
        warm_up_s: See `Scenario`.
        precision: The precision that the run should reach, or None for a fixed number of repeats.
        quality: The scores that are measured in addition to VMAF, for transcodes and ladders.
        control: Whether each node runs control encodes at the beginning and at the end of the run
            and at intervals in between. If it is None, this depends on the planned duration.
    """

    name: str
    sources: tuple[SuiteSource, ...]
    encodes: tuple[SuiteEncode, ...]
    rate_points: tuple[RatePoint, ...] = ()
    ffmpegs: tuple[SuiteFfmpeg, ...] = ()
    compare: tuple[SuitePair, ...] = ()
    description: str = ""
    placement: Literal["each", "any"] | OnNode = "each"
    priority: Priority = Priority.MEDIUM
    exclusive: bool = True
    requirements: Requirements = Requirements()
    when_unmet: WhenUnmet | None = None
    deadline_s: Annotated[float, Meta(gt=0, le=MAX_DEADLINE_S)] | None = None
    repeats: int = 3
    slowest_speed: Annotated[float, Meta(ge=MIN_SPEED, le=1)] = 0.02
    warm_up_s: WarmUp = 1.0
    precision: Precision | None = None
    control: bool | None = None
    quality: QualitySettings = ALL_SCORES

    def rates(self, encode: SuiteEncode) -> tuple[RatePoint, ...]:
        """Return the rate points of an encode: its own, or those of the suite."""
        return encode.rate_points or self.rate_points

    @property
    def files(self) -> tuple[InputFile, ...]:
        """The files that must be uploaded: those of sources, and then those of FFmpegs."""
        return tuple(
            InputFile(f"{kind} {entry.name}", entry.file, entry.sha256)
            for kind, entries in (("source", self.sources), ("FFmpeg", self.ffmpegs))
            for entry in entries
            if entry.file is not None and entry.sha256 is not None
        )

    @property
    def scenario_count(self) -> int:
        """The number of scenarios."""
        measured = sum(
            (len(self.rates(encode)) if encode.kind in _AT_RATES else 1) * len(self._builds(encode))
            for encode in self.encodes
        )
        return len(self.sources) * measured

    def scenarios(self) -> list[Scenario]:
        """Return the scenarios: each source with each encode, rate and FFmpeg, in file order."""
        return [
            Scenario(
                name=f"{source.name}/{encode.name}/{last}" + (f"/{ffmpeg.name}" if ffmpeg else ""),
                kind=encode.kind,
                source=source.resolve(),
                slowest_speed=self.slowest_speed,
                warm_up_s=self.warm_up_s if encode.kind in _WARMED_UP else 0.0,
                ffmpeg=ffmpeg,
                quality=self._quality(encode),
                **settings,
            )
            for source in self.sources
            for encode in self.encodes
            for last, settings in self._variants(encode)
            for ffmpeg in self._builds(encode)
        ]

    def _builds(self, encode: SuiteEncode) -> list[FfmpegUnderTest | None]:
        """Return the FFmpegs with which an encode is measured; None is the farm's own."""
        builds = [
            ffmpeg.resolve()
            for ffmpeg in self.ffmpegs
            if not encode.ffmpegs or ffmpeg.name in encode.ffmpegs
        ]
        return [*builds] or [None]

    def _quality(self, encode: SuiteEncode) -> QualitySettings | None:
        """Return the scores that a scenario requests, or None if it requests all of them."""
        is_compared = encode.kind in COMPARED_KINDS
        return self.quality if is_compared and self.quality != ALL_SCORES else None

    def _variants(self, encode: SuiteEncode) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the last part of the name and the settings of each scenario of an encode."""
        if encode.kind == "ladder":
            yield "ladder", {"ladder": encode.ladder()}
        elif encode.kind == "decode":
            yield "decode", {"decode": DecodeSettings(threads=encode.threads)}
        else:
            density = encode.density() if encode.kind == "density" else None
            live = encode.live() if encode.kind == "live" else None
            for rate in self.rates(encode):
                settings = {"encode": encode.settings(rate), "density": density, "live": live}
                yield rate.label, settings


def parse_suite(text: str) -> Suite:
    """Read and validate a suite.

    Raises SuiteError, which contains every problem that was found, each with its position.
    """
    document, schema = read_yaml(text), json_schema()
    _raise_if_any(
        problem_at(document, error_path(error), explain_error(error))
        for error in islice(Draft202012Validator(schema).iter_errors(document), MAX_PROBLEMS)
    )
    _raise_if_any(islice(ambiguous_numbers(document, schema), MAX_PROBLEMS))
    # RatePoint validates itself as well. Here, its errors are found first and reported with their
    # lines.
    _raise_if_any(_invalid_rates(document))
    try:
        suite = msgspec.convert(with_texts(to_plain(text), schema), Suite)
    except msgspec.ValidationError as error:
        raise SuiteError([SuiteProblem(1, str(error))]) from error
    _raise_if_any([*_repeated_names(suite, document), *_invalid_items(suite, document)])
    _raise_if_any([*_unlisted_builds(suite, document), *_invalid_pairs(suite, document)])
    _raise_if_any(_invalid_repeats(suite, document))
    if suite.scenario_count > MAX_JOBS:
        message = f"{suite.scenario_count} scenarios; the maximum is {MAX_JOBS} jobs per run"
        raise SuiteError([SuiteProblem(1, message)])
    _raise_if_any(_invalid_settings(suite, document))
    return suite


def _raise_if_any(problems: Iterator[SuiteProblem] | list[SuiteProblem]) -> None:
    """If there are problems, raise SuiteError with the problems, without duplicates."""
    found = list(dict.fromkeys(problems))
    if found:
        raise SuiteError(found)


def _rate_paths(document: Any) -> Iterator[_Path]:
    """Yield the path of every rate point of a document that matches the schema."""
    for index in range(len(document.get("rate_points", ()))):
        yield ["rate_points", index]
    for number, encode in enumerate(document["encodes"]):
        for index in range(len(encode.get("rate_points", ()))):
            yield ["encodes", number, "rate_points", index]
        for index in range(len(encode.get("renditions", ()))):
            yield ["encodes", number, "renditions", index, "rate"]


def _invalid_rates(document: Any) -> Iterator[SuiteProblem]:
    for path in _rate_paths(document):
        value = document
        for part in path:
            value = value[part]
        try:
            RatePoint(**value)
        except ValueError as error:
            yield problem_at(document, path, f"{dotted(path)}: {error}")


def _repeated_names(suite: Suite, document: Any) -> Iterator[SuiteProblem]:
    """Yield a problem for each duplicate name. It would lead to scenarios with the same name."""
    lists: list[tuple[_Path, str, list[str]]] = [
        (["sources"], "name", [source.name for source in suite.sources]),
        (["encodes"], "name", [encode.name for encode in suite.encodes]),
        (["ffmpegs"], "name", [ffmpeg.name for ffmpeg in suite.ffmpegs]),
        (["rate_points"], "", [rate.label for rate in suite.rate_points]),
    ]
    for number, encode in enumerate(suite.encodes):
        here: _Path = ["encodes", number]
        labels = [rate.label for rate in encode.rate_points]
        rungs = [rung.name for rung in encode.renditions]
        lists += [([*here, "rate_points"], "", labels), ([*here, "renditions"], "name", rungs)]
    for path, key, names in lists:
        for index, name in enumerate(names):
            if name in names[:index]:
                at = [*path, index, key] if key else [*path, index]
                message = f"the name {name} is used twice" if key else f"{name} is listed twice"
                yield problem_at(document, at, f"{dotted(path)}: {message}")


def _unlisted_builds(suite: Suite, document: Any) -> Iterator[SuiteProblem]:
    """Yield a problem for each FFmpeg of an encode that the suite does not list."""
    known = [ffmpeg.name for ffmpeg in suite.ffmpegs]
    for number, encode in enumerate(suite.encodes):
        for index, name in enumerate(encode.ffmpegs):
            if name not in known:
                message = f"the FFmpeg {name} is not listed in ffmpegs"
                if known:
                    message += f"; listed are {', '.join(known)}"
                path: _Path = ["encodes", number, "ffmpegs", index]
                yield problem_at(document, path, f"encodes.{number}.ffmpegs: {message}")


def _invalid_pairs(suite: Suite, document: Any) -> Iterator[SuiteProblem]:
    """Yield a problem for each pair that cannot be compared, and for names in several pairs."""
    builds = [ffmpeg.name for ffmpeg in suite.ffmpegs]
    seen: set[tuple[str, str]] = set()
    for number, pair in enumerate(suite.compare):
        path: _Path = ["compare", number]
        for message in pair.problems(builds, is_on_each_node=suite.placement == "each"):
            yield problem_at(document, path, f"compare.{number}: {message}")
        for kind, name in [
            *(("FFmpeg", name) for name in set(pair.ffmpegs)),
            *(("node", name) for name in set(pair.nodes)),
        ]:
            if (kind, name) in seen:
                message = f"the {kind} {name} is in another pair; it can be next to only one other"
                yield problem_at(document, path, f"compare.{number}: {message}")
            seen.add((kind, name))


def _invalid_repeats(suite: Suite, document: Any) -> Iterator[SuiteProblem]:
    """Yield a problem for each setting that conflicts with precision or with control encodes."""
    precision = suite.precision
    if precision is not None:
        here: _Path = ["precision"]
        if suite.placement == "any":
            message = "repeats on different nodes have no median; use placement each, or a node"
            yield problem_at(document, here, f"precision: {message}")
        if precision.max_repeats < suite.repeats:
            message = f"max_repeats {precision.max_repeats} is below repeats {suite.repeats}"
            yield problem_at(document, here, f"precision: {message}")
    if suite.control:
        if suite.placement == "any":
            message = "control encodes belong to nodes; use placement each, or a node"
            yield problem_at(document, ["control"], f"control: {message}")
        for number, source in enumerate(suite.sources):
            if source.name == control_encode.NAME:
                message = f"the name {control_encode.NAME} is reserved for control encodes"
                yield problem_at(
                    document, ["sources", number, "name"], f"sources.{number}: {message}"
                )


def _checked(resolved: _Input) -> _Input:
    """Check the constraints of a struct's fields, which its constructor does not.

    Raises msgspec.ValidationError if a stored job with this struct could not be read again.
    """
    return msgspec.convert(msgspec.to_builtins(resolved), type(resolved))


def _invalid_items(suite: Suite, document: Any) -> Iterator[SuiteProblem]:
    """Yield the problems of sources and FFmpegs, and of missing or extra fields of encodes."""
    for number, source in enumerate(suite.sources):
        try:
            messages = _checked(source.resolve()).problems()
        except (ValueError, msgspec.ValidationError) as error:
            messages = [str(error)]
        for message in messages:
            yield problem_at(document, ["sources", number], f"sources.{number}: {message}")
    for number, ffmpeg in enumerate(suite.ffmpegs):
        try:
            _checked(ffmpeg.resolve())
        except (ValueError, msgspec.ValidationError) as error:
            yield problem_at(document, ["ffmpegs", number], f"ffmpegs.{number}: {error}")
    for number, encode in enumerate(suite.encodes):
        path: _Path = ["encodes", number]
        required, allowed = FIELDS_OF_KIND[encode.kind]
        for key in document["encodes"][number]:
            if key not in allowed:
                message = f"a {encode.kind} has no {key}; allowed are {', '.join(allowed)}"
                yield problem_at(document, [*path, key], f"encodes.{number}: {message}")
        for key in required:
            if key not in document["encodes"][number]:
                message = f"a {encode.kind} needs {key}"
                yield problem_at(document, path, f"encodes.{number}: {message}")
        if encode.kind in _AT_RATES and not suite.rates(encode):
            message = f"a {encode.kind} needs rate_points, its own or the suite's"
            yield problem_at(document, path, f"encodes.{number}: {message}")


def _invalid_settings(suite: Suite, document: Any) -> Iterator[SuiteProblem]:
    """Yield a problem for each setting that its encoder does not accept."""
    for number, encode in enumerate(suite.encodes):
        path: _Path = ["encodes", number]
        if encode.kind == "ladder":
            for message in encode.ladder().problems():
                yield problem_at(document, [*path, "renditions"], message)
            for index, rung in enumerate(encode.renditions):
                here: _Path = [*path, "renditions", index]
                yield from _setting_problems(
                    document, path, [*here, "rate"], here, encode.settings(rung.rate, rung)
                )
        elif encode.kind in _AT_RATES:
            rates: _Path = [*path, "rate_points"] if encode.rate_points else ["rate_points"]
            for index, rate in enumerate(suite.rates(encode)):
                settings = encode.settings(rate)
                yield from _setting_problems(document, path, [*rates, index], path, settings)
                places = {"rate": [*rates, index], "encoder": [*path, "encoder"]}
                for field, message in stream_faults(encode.kind, settings):
                    yield problem_at(document, places[field], message)


def _setting_problems(
    document: Any, encode: _Path, rate: _Path, size: _Path, settings: EncodeSettings
) -> Iterator[SuiteProblem]:
    """Yield the problems of `settings`, each with the line of the field that causes it."""
    for field, message in settings.setting_errors():
        where = {"rate": rate, "width": [*size, field], "height": [*size, field]}
        yield problem_at(document, where.get(field, [*encode, field]), message)
