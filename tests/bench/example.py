"""The example of the README: a table of a real run, and the conclusions that follow from it.

`make readme-example RESULTS=results/RUN/results.json` stores the medians of the run in
docs/example.json, and writes them into README.md between the two marks.
"""

import json
import statistics
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

_ROOT = Path(__file__).resolve().parents[2]
_RECORD = "docs/example.json"
_BEGIN, _END = "<!-- example of a run -->\n", "<!-- end of the example -->\n"
_SAME_VMAF = 1.0
"""Difference of VMAF up to which the bit rates of encoders are compared."""
_SAME_SCORE, _SAME_RATE = 0.1, 0.01
"""Differences of VMAF and bit rate below which two builds yield the same."""
_COLUMNS = 120


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The medians over the repeats of one encode with one FFmpeg build.

    `degraded_reasons` counts the repeats with each reason for the verdict `degraded`.
    """

    encode: str
    preset: str
    rate_point: str
    build: str
    repeats: int
    bitrate_kbps: float
    vmaf: float
    vmaf_neg: float
    speed: float
    cpu_s: float
    degraded_reasons: dict[str, int]


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a run on one node, and where it was measured."""

    measured_on: str
    source: str
    cpu: str
    cpus: int
    ffmpegs: dict[str, str]
    rows: tuple[Row, ...]

    @property
    def is_undisturbed(self) -> bool:
        """Return whether no result is degraded, so that speeds and CPU times can be compared."""
        return not any(row.degraded_reasons for row in self.rows)


class UnsuitableRunError(Exception):
    """Raised if the results of a run cannot be shown in one table of the README."""


def read_results(path: Path) -> Example:
    """Return the medians of a run.

    Args:
        path: The file results.json of the run.

    Raises:
        UnsuitableRunError: The run has several nodes or sources, other results than transcodes
            with a measured quality, or invalid results.
    """
    results = json.loads(path.read_bytes())["results"]
    _check(results)
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(result["scenario"]["name"], []).append(result)
    rows = tuple(_row(group) for group in groups.values())
    environment = results[0]["measurement"]["environment"]
    ffmpegs = {
        _build(result): result["measurement"]["provenance"]["ffmpeg"]["version"]
        for result in results
    }
    first = rows[0].build if "farm" not in ffmpegs else "farm"
    return Example(
        measured_on=environment["measured_at"].partition("T")[0],
        source=results[0]["scenario"]["source"]["name"],
        cpu=environment["cpu_model"],
        cpus=environment["cpu_count"],
        ffmpegs=ffmpegs,
        rows=tuple(sorted(rows, key=lambda row: (row.build != first, -row.bitrate_kbps))),
    )


def _check(results: list[dict[str, Any]]) -> None:
    for what, found in (
        ("node", {result["node"] for result in results}),
        ("source", {result["scenario"]["source"]["name"] for result in results}),
        ("kind of job", {result["scenario"]["kind"] for result in results}),
    ):
        if len(found) != 1:
            raise UnsuitableRunError(f"the run must have one {what}, not {sorted(found)}")
    for result in results:
        measurement = result["measurement"]
        if measurement["quality"]["status"] != "measured":
            raise UnsuitableRunError(f"{result['scenario']['name']} has no measured quality")
        if measurement["verdict"]["state"] == "invalid":
            raise UnsuitableRunError(f"a result of {result['scenario']['name']} is invalid")


def _row(results: list[dict[str, Any]]) -> Row:
    scenario = results[0]["scenario"]
    measurements = [result["measurement"] for result in results]
    _, encode, rate_point = scenario["name"].split("/")[:3]

    def median(group: str, *names: str) -> float:
        sums = [sum(found[group][name] for name in names) for found in measurements]
        return statistics.median(sums)

    return Row(
        encode=encode,
        preset=scenario["encode"]["preset"],
        rate_point=rate_point,
        build=_build(results[0]),
        repeats=len(results),
        bitrate_kbps=median("output", "video_bitrate_kbps"),
        vmaf=median("quality", "vmaf_mean"),
        vmaf_neg=median("quality", "vmaf_neg_mean"),
        speed=median("encode", "speed"),
        cpu_s=median("encode", "user_s", "system_s"),
        degraded_reasons=Counter(
            reason["code"] for found in measurements for reason in found["verdict"]["reasons"]
        ),
    )


def _build(result: dict[str, Any]) -> str:
    return str((result["scenario"].get("ffmpeg") or {}).get("name", "farm"))


def render(example: Example) -> str:
    """Return the table and the conclusions as Markdown."""
    builds = ", ".join(f"`{name}` is {version}" for name, version in example.ffmpegs.items())
    measured = (
        f"Measured on {example.measured_on} with the clip `{example.source}` on one worker "
        f"({example.cpu}, {example.cpus} CPUs); {builds}."
    )
    lines = [
        "| encode | preset | FFmpeg | rate point | bit rate, kbit/s | VMAF | VMAF NEG "
        "| speed, x real time | CPU time, s | repeats |",
        "|---|---|---|---|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {row.encode} | {row.preset} | {row.build} | {row.rate_point} "
            f"| {row.bitrate_kbps:,.0f} | {row.vmaf:.1f} | {row.vmaf_neg:.1f} "
            f"| {row.speed:.2f} | {row.cpu_s:.1f} | {row.repeats} |"
            for row in example.rows
        ),
        "",
        *_wrapped(" ".join([measured, *_reservations(example)])),
        "",
        *(line for text in _conclusions(example) for line in _wrapped(text, "- ")),
    ]
    return "\n".join(lines) + "\n"


def _wrapped(text: str, first: str = "") -> list[str]:
    indent = " " * len(first)
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _reservations(example: Example) -> list[str]:
    if example.is_undisturbed:
        return []
    counts: Counter[str] = sum((Counter(row.degraded_reasons) for row in example.rows), Counter())
    total = sum(row.repeats for row in example.rows)
    reasons = ", ".join(f"{code}: {count} of {total}" for code, count in counts.most_common())
    return [
        f"Other programs ran on the worker, so the farm has marked results as degraded "
        f"({reasons}). Bit rates and VMAF do not depend on this; speeds and CPU times do."
    ]


def _conclusions(example: Example) -> list[str]:
    """Return what the rows show: the best encode of the first build, and the other builds."""
    first_build = example.rows[0].build
    own = [row for row in example.rows if row.build == first_build]
    best = min(own, key=lambda row: row.bitrate_kbps)
    peers = [row for row in own if row is not best and abs(row.vmaf - best.vmaf) <= _SAME_VMAF]
    found = []
    if peers:
        compared = _joined(
            f"{_share(1 - best.bitrate_kbps / row.bitrate_kbps)} fewer than {row.encode}"
            f"{_time_ratio(best, row, example)}"
            for row in peers
        )
        found.append(f"{best.encode} needs the fewest bits for about the same VMAF: {compared}.")
    same = []
    for row in example.rows[len(own) :]:
        settings = (row.encode, row.rate_point)
        peer = next(known for known in own if (known.encode, known.rate_point) == settings)
        change = row.bitrate_kbps / peer.bitrate_kbps - 1
        if abs(change) < _SAME_RATE and abs(row.vmaf - peer.vmaf) < _SAME_SCORE:
            same.append(row)
            continue
        direction = "fewer" if change < 0 else "more"
        found.append(
            f"With the same settings, {row.encode} of `{row.build}` needs {_share(abs(change))} "
            f"{direction} bits than that of `{first_build}` for a VMAF that differs by "
            f"{row.vmaf - peer.vmaf:+.1f}{_time_ratio(row, peer, example)}."
        )
    if same:
        names = _joined(f"{row.encode} of `{row.build}`" for row in same)
        found.append(f"With {names}, bit rate and VMAF are those of `{first_build}`.")
    return found


def _share(part: float) -> str:
    return f"{part * 100:.0f} %"


def _joined(parts: Iterable[str]) -> str:
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def _time_ratio(row: Row, other: Row, example: Example) -> str:
    if not example.is_undisturbed:
        return ""
    return f" ({row.cpu_s / other.cpu_s:.1f} times its CPU time)"


def insert(text: str, example: Example) -> str:
    """Return the text of the README with the example between its marks."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{render(example)}{_END}{after}"


def read_record(root: Path = _ROOT) -> Example:
    """Return the example that the README shows."""
    return msgspec.json.decode((root / _RECORD).read_bytes(), type=Example)


def main() -> None:
    """Write the record and the README from the results that the command line names."""
    (results,) = sys.argv[1:]
    example = read_results(Path(results))
    document = msgspec.json.format(msgspec.json.encode(example), indent=2) + b"\n"
    (_ROOT / _RECORD).write_bytes(document)
    readme = _ROOT / "README.md"
    readme.write_text(insert(readme.read_text(encoding="utf-8"), example), encoding="utf-8")


if __name__ == "__main__":
    main()
