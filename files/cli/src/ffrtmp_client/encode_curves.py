"""Rate-distortion curves of the encodes of a run, from its results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .api import Json
from .medians import result_values
from .phrases import listed
from .rate_distortion.curve import Curve, RatePoint, make_curve

TIME_RATIO = "time_ratio"
"""Encoding time divided by the duration of the video, the inverse of the speed."""

COSTS = {
    TIME_RATIO: "speed",
    "cpu_s": "CPU time",
    "energy_gross_j": "energy",
    "cost_per_video_hour": "cost",
}
"""Figures of results that are compared at equal quality, with their names in texts."""

_DISTURBING = frozenset({"other-load", "steal"})
"""Reasons for the verdict degraded because of which speed, energy and cost are not comparable."""

_CONTROL = "control"
_NAMED_MAX = 3

Repeat = dict[str, Any]


@dataclass(frozen=True)
class EncodeCurves:
    """The curves of one encode, of one source, with one FFmpeg build, on one node.

    Attributes:
        encoder: Name of the encoder.
        configuration: Encoder and preset, without the library's prefix.
        size: Size of the pictures, such as 1280x720, or None if it is unknown.
        rate: The bit rate over the quality.
        costs: The other costs over the quality, by the name of the figure; only those of which at
            least one repeat has a value.
        currency: The currency of the cost, or None.
        point_count: Number of measured rate points, including those that the curve leaves out.
        n: Number of repeats of all points.
        degraded: For each degraded repeat, the codes of its reasons.
    """

    encoder: str
    configuration: str
    size: str | None
    rate: Curve
    costs: Mapping[str, Curve]
    currency: str | None
    point_count: int
    n: int
    degraded: tuple[frozenset[str], ...]

    @property
    def is_disturbed(self) -> bool:
        """Return whether other load or steal degraded more than half of the repeats."""
        return sum(bool(codes & _DISTURBING) for codes in self.degraded) * 2 > self.n


@dataclass(frozen=True)
class Place:
    """The node and the FFmpeg build of encodes that are compared with each other."""

    node: str
    ffmpeg: str
    sha256: str


@dataclass(frozen=True)
class RunCurves:
    """All curves of a run.

    `quality` is the name of the quality in texts. `curves` contains, for each place and each
    source, the curves by the name of the encode.
    """

    quality: str
    curves: Mapping[Place, Mapping[str, Mapping[str, EncodeCurves]]]


def read_curves(
    results: Iterable[Json], exported: Mapping[str, Mapping[str, str]] | None = None
) -> RunCurves:
    """Return the curves of the transcodes of a run.

    The quality is VMAF NEG if the run compares encoders and has measured it, and otherwise VMAF.
    Invalid results are excluded. Sources of which no quality was measured have no curves.

    Args:
        results: Results as the API returns them.
        exported: Rows of the master's table of results by the id of the result, with the costs.
    """
    repeats = [
        values
        | {
            "sha256": (result["measurement"].get("output") or {}).get("sha256"),
            TIME_RATIO: 1 / values["speed"] if values["speed"] else None,
        }
        for result in results
        if (values := result_values(result, (exported or {}).get(result["id"])))["verdict"]
        != "invalid"
        and values["kind"] == "transcode"
        and values["source"] != _CONTROL
        and values["encoder"]
    ]
    has_encoders = len({repeat["encoder"] for repeat in repeats}) > 1
    has_neg = any(repeat["vmaf_neg_mean"] is not None for repeat in repeats)
    quality = "vmaf_neg_mean" if has_encoders and has_neg else "vmaf_mean"
    labels = _labels(repeats)
    groups: dict[Place, dict[str, dict[str, list[Repeat]]]] = {}
    for repeat in repeats:
        build = repeat["ffmpeg"] or repeat["ffmpeg_version"]
        place = Place(repeat["node"], build, repeat["ffmpeg_sha256"])
        encodes = groups.setdefault(place, {}).setdefault(repeat["source"], {})
        encodes.setdefault(labels[repeat["encode"]], []).append(repeat)
    curves: dict[Place, dict[str, dict[str, EncodeCurves]]] = {}
    for place, sources in groups.items():
        for source, encodes in sources.items():
            if any(each[quality] is not None for found in encodes.values() for each in found):
                curves.setdefault(place, {})[source] = {
                    label: _curves(label, found, quality) for label, found in encodes.items()
                }
    return RunCurves("VMAF NEG" if quality == "vmaf_neg_mean" else "VMAF", curves)


def find_cost_problem(members: Sequence[EncodeCurves], name: str) -> str | None:
    """Return why a cost of encodes cannot be compared, or None if it can.

    Args:
        members: The encodes.
        name: The name of the cost.

    Returns:
        The reason, which is empty if the cost was not measured, or None.
    """
    if not all(name in curves.costs for curves in members):
        return ""
    if name == "cost_per_video_hour" and len({curves.currency for curves in members}) > 1:
        return "the currencies differ"
    disturbed = dict.fromkeys(curves.rate.name for curves in members if curves.is_disturbed)
    if disturbed:
        names = listed(list(disturbed), _NAMED_MAX)
        return f"other load or steal degraded most repeats of {names}"
    return None


def _labels(repeats: Iterable[Repeat]) -> dict[str, str]:
    """Return encoder and preset for each encode, or its name if these do not distinguish it."""
    labels: dict[str, str] = {}
    for repeat in repeats:
        labels[repeat["encode"]] = _configuration(repeat)
    shared = [label for label in labels.values() if list(labels.values()).count(label) > 1]
    return {encode: encode if label in shared else label for encode, label in labels.items()}


def _configuration(repeat: Repeat) -> str:
    """Return encoder and preset, such as `x264 medium`."""
    parts = (str(repeat["encoder"]).removeprefix("lib"), repeat["preset"])
    return " ".join(str(part) for part in parts if part)


def _curves(label: str, repeats: Sequence[Repeat], quality: str) -> EncodeCurves:
    points: dict[str, list[Repeat]] = {}
    for repeat in repeats:
        points.setdefault(repeat["rate_point"], []).append(repeat)
    usable = {name: _with_quality(found, quality) for name, found in points.items()}
    rate = make_curve(label, [_point(name, found, quality) for name, found in usable.items()])
    costs = {
        name: rate.with_costs(
            {point: [each[name] or 0.0 for each in found] for point, found in usable.items()}, what
        )
        for name, what in COSTS.items()
        if any(repeat[name] is not None for repeat in repeats)
    }
    currencies = {repeat["currency"] for repeat in repeats} - {None}
    return EncodeCurves(
        encoder=repeats[0]["encoder"],
        configuration=_configuration(repeats[0]),
        size=repeats[0]["size"],
        rate=rate,
        costs=costs,
        currency=currencies.pop() if len(currencies) == 1 else None,
        point_count=len(points),
        n=len(repeats),
        degraded=tuple(
            frozenset(repeat["reasons"]) for repeat in repeats if repeat["verdict"] == "degraded"
        ),
    )


def _with_quality(repeats: Sequence[Repeat], quality: str) -> list[Repeat]:
    """Return the repeats with a quality: their own, or that of another one with equal bytes."""
    known = {
        repeat["sha256"]: repeat[quality]
        for repeat in repeats
        if repeat["sha256"] and repeat[quality] is not None
    }
    found = []
    for repeat in repeats:
        value = repeat[quality]
        value = known.get(repeat["sha256"]) if value is None else value
        if value is not None:
            found.append({**repeat, quality: value})
    return found


def _point(name: str, repeats: Sequence[Repeat], quality: str) -> RatePoint:
    digests = {repeat["sha256"] for repeat in repeats}
    return RatePoint(
        name,
        tuple(repeat["video_bitrate_kbps"] or 0.0 for repeat in repeats),
        tuple(repeat[quality] for repeat in repeats),
        is_deterministic=len(repeats) > 1 and len(digests) == 1 and None not in digests,
    )
