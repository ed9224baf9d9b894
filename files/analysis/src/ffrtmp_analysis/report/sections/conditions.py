"""Conditions of a run: hosts, programs, sources and encodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..document import Block, Section, Table, TableColumn
from ..number_text import NONE, significant
from ..run_data import CONTROL, Document, RunData, measured

_GIB = 2**30
_TEXTS_MAX = 4


def conditions_section(data: RunData) -> Section:
    """Return the section with the conditions under which the run measured."""
    blocks: list[Block] = [_run_table(data)]
    if data.results:
        blocks += [_node_table(data), _source_table(data)]
    if any(row["source"] != CONTROL for row in data.rows):
        blocks.append(_encode_table(data))
    return Section("conditions", "Conditions", blocks)


def _run_table(data: RunData) -> Table:
    run = data.run
    counts = run["counts"]
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()) if count)
    pairs = [
        ("Suite", run["suite_name"]),
        ("Run", run["id"]),
        ("Farm", data.farm_name),
        ("Queued at", _time_text(run["created_at"]) + _by_text(run.get("created_by"))),
        ("Finished at", _time_text(run.get("finished_at"))),
        ("Jobs", f"{sum(counts.values())} ({states})" if states else "0"),
        ("Nodes", ", ".join(run.get("nodes") or ())),
        (
            "Nodes left out",
            ", ".join(f"{each['node']} ({each['state']})" for each in run.get("omitted_nodes", ())),
        ),
        ("Seed of the order", str(run.get("seed", ""))),
    ]
    return Table(
        "The run",
        (TableColumn("name", "Property"), TableColumn("value", "Value")),
        [{"name": name, "value": value} for name, value in pairs if value],
    )


def _time_text(moment: str | None) -> str:
    """Return a time of the API, which is in UTC, without fractions of a second."""
    if moment is None:
        return ""
    date, _, time = moment.partition("T")
    return f"{date} {time[:8]} UTC"


def _by_text(name: str | None) -> str:
    return f" by {name}" if name else ""


def _node_table(data: RunData) -> Table:
    nodes: dict[str, list[Document]] = {}
    for result in data.results:
        nodes.setdefault(result["node"], []).append(result["measurement"])
    rows = []
    for node, found in sorted(nodes.items()):
        hosts = [measurement["environment"] for measurement in found]
        memory_bytes = [measured(host.get("memory_available_bytes")) for host in hosts]
        known = [value for value in memory_bytes if value is not None]
        rows.append(
            {
                "node": node,
                "cpu": _texts(host.get("cpu_model") for host in hosts),
                "cpus": _texts(_count_text(host) for host in hosts),
                "kernel": _texts(host.get("kernel") for host in hosts),
                "governor": _texts(host.get("cpu_governor") for host in hosts),
                "turbo": _texts(host.get("turbo") for host in hosts),
                "memory": min(known) / _GIB if known else None,
                "ffmpeg": _texts(
                    f"{each['provenance']['ffmpeg']['version']} "
                    f"({each['provenance']['ffmpeg']['sha256'][:8]})"
                    for each in found
                ),
                "quality": _texts(
                    f"{each['provenance']['quality_ffmpeg']['version']} "
                    f"({each['provenance']['quality_ffmpeg']['sha256'][:8]})"
                    for each in found
                ),
                "model": _texts(each["quality"].get("vmaf_model") for each in found),
            }
        )
    columns = (
        TableColumn("node", "Node"),
        TableColumn("cpu", "Processor"),
        TableColumn("cpus", "CPUs of the job"),
        TableColumn("memory", "Least available memory (GiB)", digits=3),
        TableColumn("kernel", "Kernel"),
        TableColumn("governor", "Governor"),
        TableColumn("turbo", "Turbo"),
        TableColumn("ffmpeg", "FFmpeg (SHA-256)"),
        TableColumn("quality", "FFmpeg for quality (SHA-256)"),
        TableColumn("model", "VMAF model"),
    )
    return Table("Nodes and programs", columns, rows).varying


def _count_text(host: Document) -> Any:
    """Return the number of CPUs that the job could use, and that of the host if it is higher."""
    slot = measured(host.get("slot")) or {}
    used, total = measured(slot.get("cpus")), measured(host.get("cpu_count"))
    if used is None or used == total:
        return total
    return f"{used} of {total}" if total is not None else used


def _source_table(data: RunData) -> Table:
    sources: dict[tuple[str, str], Document] = {}
    for result in data.scenario_results:
        digest = result["measurement"]["provenance"]["source_sha256"]
        key = (result["scenario"]["source"]["name"], digest)
        sources.setdefault(key, result["measurement"].get("source") or {})
    rows = [
        {
            "source": name,
            "codec": source.get("codec", ""),
            "size": f"{source['width']}x{source['height']}" if source.get("width") else "",
            "pixels": source.get("pixel_format", ""),
            "frame_rate": frame_rate_hz(source.get("frame_rate")),
            "frames": measured(source.get("frames")),
            "duration": measured(source.get("duration_s")),
            "si": measured(source.get("si_mean")),
            "ti": measured(source.get("ti_mean")),
            "sha256": digest[:16],
        }
        for (name, digest), source in sorted(sources.items())
    ]
    columns = (
        TableColumn("source", "Source"),
        TableColumn("codec", "Codec"),
        TableColumn("size", "Size (px)"),
        TableColumn("pixels", "Pixel format"),
        TableColumn("frame_rate", "Frame rate (1/s)", digits=4),
        TableColumn("frames", "Frames", decimals=0),
        TableColumn("duration", "Duration (s)", digits=3),
        TableColumn("si", "Spatial information", digits=3),
        TableColumn("ti", "Temporal information", digits=3),
        TableColumn("sha256", "SHA-256 (first 16 digits)"),
    )
    return Table("Sources", columns, rows).varying


def frame_rate_hz(text: str | None) -> float | None:
    """Return frames per second, such as 29.97 for 30000/1001, or None if they are unknown."""
    numerator, _, denominator = (text or "").partition("/")
    try:
        return float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        return None


def _encode_table(data: RunData) -> Table:
    encodes: dict[tuple[Any, ...], list[Document]] = {}
    for row in data.rows:
        if row["source"] != CONTROL and row["rendition"] is None:
            encodes.setdefault((row["encode"], row["kind"]), []).append(row)
    rows = []
    for (name, kind), found in encodes.items():
        repeats = [row["n"] + row["n_invalid"] for row in found]
        fewest, most = min(repeats), max(repeats)
        rows.append(
            {
                "encode": name,
                "kind": kind,
                **{
                    key: _texts(row[key] for row in found)
                    for key in ("encoder", "preset", "threads", "size", "pixel_format")
                },
                "gop": _texts(row["gop_frames"] for row in found),
                "options": _texts(row["options"] for row in found),
                "rates": _listed(dict.fromkeys(row["rate_point"] for row in found)),
                "repeats": str(fewest) if fewest == most else f"{fewest} to {most}",
            }
        )
    columns = (
        TableColumn("encode", "Encode"),
        TableColumn("kind", "Kind"),
        TableColumn("encoder", "Encoder"),
        TableColumn("preset", "Preset"),
        TableColumn("threads", "Threads"),
        TableColumn("size", "Size (px)"),
        TableColumn("pixel_format", "Pixel format"),
        TableColumn("gop", "GOP (frames)"),
        TableColumn("options", "Options"),
        TableColumn("rates", "Rate points"),
        TableColumn("repeats", "Repeats"),
    )
    return Table("Encodes", columns, rows).varying


def _texts(values: Iterable[Any]) -> str:
    """Return the different values as text, without those that are unavailable."""
    known = (measured(value) for value in values)
    return _listed(dict.fromkeys(_text(value) for value in known if value not in (None, "")))


def _text(value: Any) -> str:
    return significant(value) if isinstance(value, float) else str(value)


def _listed(names: Iterable[str]) -> str:
    shown: Sequence[str] = [name for name in names if name and name != NONE]
    if len(shown) > _TEXTS_MAX * 2:
        return f"{', '.join(shown[:_TEXTS_MAX])} and {len(shown) - _TEXTS_MAX} more"
    return ", ".join(shown)
