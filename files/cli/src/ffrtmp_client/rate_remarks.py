"""Remarks on the rate points of a run: settings that were found, and bit rates that differ."""

from __future__ import annotations

import re
import statistics
import textwrap
from collections.abc import Iterable, Mapping

from .api import Json
from .medians import video_bitrate_kbps

DIFFERENCE_RATIO = 0.1
"""Difference of the bit rates of one rate point, relative to the lowest, that is remarked on.

A bit rate that is 10 % higher raises VMAF by about one point, which is as much as the difference
between two presets.
"""

_LINES_MAX = 12
_NAME = re.compile(r"[^/]+/([^/]+)/([^/]+)(.*)")
"""Name of a scenario: SOURCE/ENCODE/RATE, and the FFmpeg build if the suite lists several."""


def remark_lines(results: Iterable[Json], columns: int) -> list[str]:
    """Return the remarks on the results of a run, as lines of at most `columns` characters."""
    groups = _groups(results)
    ordered = sorted(groups.items())
    remarks = list(filter(None, (_found(*group) for group in ordered)))
    differing = list(filter(None, (_difference(*group) for group in ordered)))
    if differing:
        differing.append(
            f"Bit rates that differ by more than {DIFFERENCE_RATIO * 100:.0f} % do not compare "
            "encoders: use rate points with vmaf, or several rate points."
        )
    lines = [line for text in (*remarks, *differing) for line in textwrap.wrap(text, columns)]
    if len(lines) <= _LINES_MAX:
        return lines
    more = len(lines) - _LINES_MAX + 1
    return [*lines[: _LINES_MAX - 1], f"{more} more lines on rate points are left out."]


_Group = tuple[str, str, str]
"""The name of a source, the size of the output, and the name of a rate point."""


def _groups(results: Iterable[Json]) -> dict[_Group, dict[str, list[Json]]]:
    """Return the valid results by group and name of the encode, where both have a rate point."""
    groups: dict[_Group, dict[str, list[Json]]] = {}
    for result in results:
        scenario, measurement = result["scenario"], result["measurement"]
        is_invalid = (measurement.get("verdict") or {}).get("state") == "invalid"
        encode = scenario.get("encode")
        parts = _NAME.match(scenario["name"])
        if not encode or is_invalid or parts is None:
            continue
        size = f"{encode['width']}x{encode['height']}" if encode.get("width") else ""
        name, rate_point, build = parts.groups()
        group = (scenario["source"]["name"], size, rate_point)
        groups.setdefault(group, {}).setdefault(name + build, []).append(result)
    return groups


def _title(group: _Group) -> str:
    source, size, rate_point = group
    return f"{rate_point} of {source}" + (f" at {size}" if size else "")


def _found(group: _Group, encodes: Mapping[str, list[Json]]) -> str:
    """Return the settings with which encodes reached the VMAF of a rate point, or ""."""
    found = []
    for name, members in sorted(encodes.items()):
        searches = [result["measurement"].get("rate_search") for result in members]
        settings = sorted({(s["control"], s["setting"]) for s in searches if s})
        # Nodes with processors of different types may find settings that differ slightly.
        if settings:
            values = " or ".join(f"{value:g}" for _, value in settings)
            found.append(f"{name} {settings[0][0]} {values}")
    return f"{_title(group)} was reached with {', '.join(found)}." if found else ""


def _difference(group: _Group, encodes: Mapping[str, list[Json]]) -> str:
    """Return by how much the bit rates of one rate point differ, or "".

    With a requested VMAF, the bit rate is what is compared. With a constant quality, encodes of one
    encoder are expected to differ, but the scales of two encoders have nothing in common.
    """
    settings = [members[0]["scenario"]["encode"] for members in encodes.values()]
    rates = [encode["rate"] for encode in settings]
    is_by_rate = all(rate.get("bitrate_kbps") is not None for rate in rates)
    has_encoders = len({encode["encoder"] for encode in settings}) > 1
    if any(rate.get("vmaf") is not None for rate in rates) or not (is_by_rate or has_encoders):
        return ""
    kbps = {}
    for name, members in encodes.items():
        rates_kbps = [video_bitrate_kbps(result["measurement"]) for result in members]
        values = [rate for rate in rates_kbps if rate]
        if values:
            kbps[name] = statistics.median(values)
    if not kbps:
        return ""
    least, most = min(kbps, key=kbps.__getitem__), max(kbps, key=kbps.__getitem__)
    ratio = kbps[most] / kbps[least] - 1
    if ratio <= DIFFERENCE_RATIO:
        return ""
    return (
        f"{_title(group)}: actual bit rates differ by {ratio * 100:.0f} %, from "
        f"{kbps[least]:.0f} kbit/s ({least}) to {kbps[most]:.0f} kbit/s ({most})."
    )
