"""Suites: from the YAML that a person writes to the scenarios that a farm measures."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Literal

import msgspec
from jsonschema import Draft202012Validator
from msgspec import Meta

from ffrtmp_shared import control_encode
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest
from ffrtmp_shared.precision import Precision
from ffrtmp_shared.requirements import Priority, Requirements
from ffrtmp_shared.scenario import (
    DecodeSettings,
    DensitySettings,
    EncodeSettings,
    LadderSettings,
    LiveSettings,
    RatePoint,
    Rendition,
    Scenario,
    WarmUp,
    stream_faults,
)
from ffrtmp_shared.suite_inputs import SuiteFfmpeg, SuiteSource
from ffrtmp_shared.suite_schema import FIELDS_OF_KIND, MAX_DEADLINE_S, json_schema
from ffrtmp_shared.suite_yaml import (
    MAX_PROBLEMS,
    SuiteError,
    SuiteProblem,
    explain_error,
    line_of,
    path_text,
    read_yaml,
    to_plain,
)

__all__ = [
    "MAX_JOBS",
    "OnNode",
    "Suite",
    "SuiteError",
    "SuiteProblem",
    "json_schema",
    "parse_suite",
]

MAX_JOBS = 100_000
"""The most jobs that one run may have."""

_Path = list[str | int]

# Kinds that are done once at each rate point.
_AT_RATES = ("transcode", "density", "live")

_WARMED_UP = ("transcode", "ladder", "decode")


class SuiteRendition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rung of a ladder."""

    name: str
    rate: RatePoint
    width: int | None = None
    height: int | None = None


class SuiteEncode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done to each source, and how it is set.

    A `transcode` is done at each of its own `rate_points`, or at the suite's where it has none;
    a `ladder` has a rate in each of its `renditions`; a `decode` has only `threads`. A `density`
    has rates as a transcode does, and how it is searched for: see `DensitySettings`. A `live` has
    rates too, and how long it is streamed.
    """

    name: str
    kind: Literal["transcode", "ladder", "decode", "density", "live"] = "transcode"
    encoder: str | None = None
    preset: str | None = None
    pixel_format: str = "yuv420p"
    threads: int = 2
    gop_frames: int = 250
    width: int | None = None
    height: int | None = None
    frame_rate: str | int | None = None
    options: dict[str, str | int] = {}
    rate_points: tuple[RatePoint, ...] = ()
    renditions: tuple[SuiteRendition, ...] = ()
    together: bool = True
    window_s: float = DensitySettings().window_s
    verify_s: float = DensitySettings().verify_s
    max_lag_s: float = DensitySettings().max_lag_s
    max_streams: int = DensitySettings().max_streams
    duration_s: float = LiveSettings().duration_s

    def settings(self, rate: RatePoint, rung: SuiteRendition | None = None) -> EncodeSettings:
        """Return what the encoder is told at `rate`, in the size of `rung` where there is one."""
        size = self if rung is None else rung
        encoder = str(self.encoder)
        return EncodeSettings(
            encoder=encoder,
            preset=self.preset or ENCODERS[encoder].default_preset,
            rate=rate,
            pixel_format=self.pixel_format,
            threads=self.threads,
            gop_frames=self.gop_frames,
            width=size.width,
            height=size.height,
            frame_rate=None if self.frame_rate is None else str(self.frame_rate),
            options={name: str(value) for name, value in self.options.items()},
        )

    def density(self) -> DensitySettings:
        """Return how a `density` is searched for."""
        return DensitySettings(
            window_s=self.window_s,
            verify_s=self.verify_s,
            max_lag_s=self.max_lag_s,
            max_streams=self.max_streams,
        )

    def ladder(self) -> LadderSettings:
        """Return the ladder of a `ladder`."""
        return LadderSettings(
            renditions=tuple(
                Rendition(name=rung.name, encode=self.settings(rung.rate, rung))
                for rung in self.renditions
            ),
            together=self.together,
        )


class OnNode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A placement on one node, by its name."""

    node: str


class Suite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sources x encodes x rate points x FFmpegs x placement x repeats.

    `placement` is `each` (every node that fits measures every scenario), `any` (one of them
    does) or one node. `repeats` counts how often each scenario is measured on its node, or how
    often at least where `precision` says when it is enough. With `control` each node makes a
    control encode first and last, and now and then in between.
    Without `ffmpegs` all is measured with the farm's own.
    `slowest_speed` and `warm_up_s` are explained at `Scenario`. `requirements` is what a node
    must be or have. `when_unmet` says what becomes of scenarios that no active node can do: they
    wait for one, or the run is refused. Without it they wait if a registered node that is offline
    or draining can do them, and the run is refused otherwise. `exclusive` jobs share their node
    with no other. An attempt that takes longer than `deadline_s` is ended, and its job with it.
    """

    name: str
    sources: tuple[SuiteSource, ...]
    encodes: tuple[SuiteEncode, ...]
    rate_points: tuple[RatePoint, ...] = ()
    ffmpegs: tuple[SuiteFfmpeg, ...] = ()
    description: str = ""
    placement: Literal["each", "any"] | OnNode = "each"
    priority: Priority = Priority.MEDIUM
    exclusive: bool = True
    requirements: Requirements = Requirements()
    when_unmet: Literal["wait", "refuse"] | None = None
    deadline_s: Annotated[float, Meta(gt=0, le=MAX_DEADLINE_S)] | None = None
    repeats: int = 3
    slowest_speed: Annotated[float, Meta(gt=0, le=1)] = 0.02
    warm_up_s: WarmUp = 1.0
    precision: Precision | None = None
    control: bool = False

    def rates(self, encode: SuiteEncode) -> tuple[RatePoint, ...]:
        """Return the rate points at which a transcode is done."""
        return encode.rate_points or self.rate_points

    @property
    def scenario_count(self) -> int:
        """How many scenarios there are."""
        measured = sum(
            len(self.rates(encode)) if encode.kind in _AT_RATES else 1 for encode in self.encodes
        )
        return len(self.sources) * measured * (len(self.ffmpegs) or 1)

    def scenarios(self) -> list[Scenario]:
        """Resolve the product of sources, encodes, rates and FFmpegs, in the order of the file."""
        builds: list[FfmpegUnderTest | None] = [ffmpeg.resolve() for ffmpeg in self.ffmpegs]
        return [
            Scenario(
                name=f"{source.name}/{encode.name}/{last}" + (f"/{ffmpeg.name}" if ffmpeg else ""),
                kind=encode.kind,
                source=source.resolve(),
                slowest_speed=self.slowest_speed,
                warm_up_s=self.warm_up_s if encode.kind in _WARMED_UP else 0.0,
                ffmpeg=ffmpeg,
                **settings,
            )
            for source in self.sources
            for encode in self.encodes
            for last, settings in self._measured(encode)
            for ffmpeg in builds or [None]
        ]

    def _measured(self, encode: SuiteEncode) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the settings of all that is measured of an encode, and what tells them apart."""
        if encode.kind == "ladder":
            yield "ladder", {"ladder": encode.ladder()}
        elif encode.kind == "decode":
            yield "decode", {"decode": DecodeSettings(threads=encode.threads)}
        else:
            density = encode.density() if encode.kind == "density" else None
            live = LiveSettings(duration_s=encode.duration_s) if encode.kind == "live" else None
            for rate in self.rates(encode):
                settings = {"encode": encode.settings(rate), "density": density, "live": live}
                yield rate.label, settings


def parse_suite(text: str) -> Suite:
    """Read a suite from YAML.

    Raises SuiteError with every problem that was found and the line that each stands on.
    """
    document = read_yaml(text)
    _refuse(
        SuiteProblem(line_of(document, path_text(error)), explain_error(error))
        for error in islice(Draft202012Validator(json_schema()).iter_errors(document), MAX_PROBLEMS)
    )
    # A rate point checks itself; those that are wrong are named with their lines.
    _refuse(_wrong_rates(document))
    try:
        suite = msgspec.convert(to_plain(text), Suite)
    except msgspec.ValidationError as error:
        raise SuiteError([SuiteProblem(1, str(error))]) from error
    _refuse([*_repeated_names(suite, document), *_misplaced(suite, document)])
    _refuse(_impossible_repeats(suite, document))
    if suite.scenario_count > MAX_JOBS:
        said = f"{suite.scenario_count} scenarios; a run may have {MAX_JOBS} jobs"
        raise SuiteError([SuiteProblem(1, said)])
    _refuse(_refused_settings(suite, document))
    return suite


def _refuse(problems: Iterator[SuiteProblem] | list[SuiteProblem]) -> None:
    """Raise SuiteError if there are any; what is said twice of a line is said once."""
    found = list(dict.fromkeys(problems))
    if found:
        raise SuiteError(found)


def _rate_paths(document: Any) -> Iterator[_Path]:
    """Find every rate point of a document that has the right form."""
    for index in range(len(document.get("rate_points", ()))):
        yield ["rate_points", index]
    for number, encode in enumerate(document["encodes"]):
        for index in range(len(encode.get("rate_points", ()))):
            yield ["encodes", number, "rate_points", index]
        for index in range(len(encode.get("renditions", ()))):
            yield ["encodes", number, "renditions", index, "rate"]


def _wrong_rates(document: Any) -> Iterator[SuiteProblem]:
    for path in _rate_paths(document):
        value = document
        for part in path:
            value = value[part]
        try:
            RatePoint(**value)
        except ValueError as error:
            where = ".".join(map(str, path))
            yield SuiteProblem(line_of(document, path), f"{where}: {error}")


def _repeated_names(suite: Suite, document: Any) -> Iterator[SuiteProblem]:
    """Find the names that stand twice, by which two scenarios would have one name."""
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
                said = f"the name {name} stands twice" if key else f"{name} stands twice"
                where = ".".join(map(str, path))
                yield SuiteProblem(line_of(document, at), f"{where}: {said}")


def _impossible_repeats(suite: Suite, document: Any) -> Iterator[SuiteProblem]:
    """Find what cannot go with repeats until the median is known, or with control encodes."""
    precision = suite.precision
    if precision is not None:
        here = line_of(document, ["precision"])
        if suite.placement == "any":
            said = "repeats on different nodes have no median; use placement each, or a node"
            yield SuiteProblem(here, f"precision: {said}")
        if precision.max_repeats < suite.repeats:
            said = f"max_repeats {precision.max_repeats} is below repeats {suite.repeats}"
            yield SuiteProblem(here, f"precision: {said}")
    if suite.control:
        if suite.placement == "any":
            said = "control encodes belong to nodes; use placement each, or a node"
            yield SuiteProblem(line_of(document, ["control"]), f"control: {said}")
        for number, source in enumerate(suite.sources):
            if source.name == control_encode.NAME:
                said = f"the name {control_encode.NAME} is that of the control encodes' source"
                yield SuiteProblem(
                    line_of(document, ["sources", number, "name"]), f"sources.{number}: {said}"
                )


def _misplaced(suite: Suite, document: Any) -> Iterator[SuiteProblem]:
    """Find inputs of no one sort, and what does not belong to an encode of its kind."""
    for number, source in enumerate(suite.sources):
        try:
            said = source.resolve().problems()
        except ValueError as error:
            said = [str(error)]
        for one in said:
            yield SuiteProblem(line_of(document, ["sources", number]), f"sources.{number}: {one}")
    for number, ffmpeg in enumerate(suite.ffmpegs):
        try:
            ffmpeg.resolve()
        except ValueError as error:
            line = line_of(document, ["ffmpegs", number])
            yield SuiteProblem(line, f"ffmpegs.{number}: {error}")
    for number, encode in enumerate(suite.encodes):
        path: _Path = ["encodes", number]
        required, allowed = FIELDS_OF_KIND[encode.kind]
        for key in document["encodes"][number]:
            if key not in allowed:
                wrong = f"a {encode.kind} has no {key}; allowed are {', '.join(allowed)}"
                yield SuiteProblem(line_of(document, [*path, key]), f"encodes.{number}: {wrong}")
        for key in required:
            if key not in document["encodes"][number]:
                wrong = f"a {encode.kind} needs {key}"
                yield SuiteProblem(line_of(document, path), f"encodes.{number}: {wrong}")
        if encode.kind in _AT_RATES and not suite.rates(encode):
            wrong = f"a {encode.kind} needs rate_points, its own or the suite's"
            yield SuiteProblem(line_of(document, path), f"encodes.{number}: {wrong}")


def _refused_settings(suite: Suite, document: Any) -> Iterator[SuiteProblem]:
    """Find what the encoders would not accept."""
    for number, encode in enumerate(suite.encodes):
        path: _Path = ["encodes", number]
        if encode.kind == "ladder":
            for said in encode.ladder().problems():
                yield SuiteProblem(line_of(document, [*path, "renditions"]), said)
            for index, rung in enumerate(encode.renditions):
                here: _Path = [*path, "renditions", index]
                yield from _faults(
                    document, path, [*here, "rate"], here, encode.settings(rung.rate, rung)
                )
        elif encode.kind in _AT_RATES:
            rates: _Path = [*path, "rate_points"] if encode.rate_points else ["rate_points"]
            for index, rate in enumerate(suite.rates(encode)):
                settings = encode.settings(rate)
                yield from _faults(document, path, [*rates, index], path, settings)
                places = {"rate": [*rates, index], "encoder": [*path, "encoder"]}
                for field, said in stream_faults(encode.kind, settings):
                    yield SuiteProblem(line_of(document, places[field]), said)


def _faults(
    document: Any, encode: _Path, rate: _Path, size: _Path, settings: EncodeSettings
) -> Iterator[SuiteProblem]:
    """Name what `settings` would be refused for, each where the file says it."""
    for field, said in settings.setting_errors():
        where = {"rate": rate, "width": [*size, field], "height": [*size, field]}
        yield SuiteProblem(line_of(document, where.get(field, [*encode, field])), said)
