"""Environment of the nodes of a run: what its results state, and how the nodes are registered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .api import Json

NODES_NAME = "nodes.json"
"""Name of the file with the environment of every node."""

_FIELDS = (
    "cpu_affinity",
    "cpu_count",
    "cpu_governor",
    "cpu_model",
    "host_tuning",
    "kernel",
    "microcode",
    "node_use",
    "numa_nodes",
    "smt",
    "turbo",
)
_PROVENANCE = ("agent_version", "ffmpeg", "quality_ffmpeg")
# Neither addresses nor the name of the host affect the measurement, and bundles are given away.
_REGISTERED = (
    "agent_version",
    "encoders",
    "facts",
    "ffmpeg",
    "ffmpeg_under_test",
    "kinds",
    "labels",
    "quality_ffmpeg",
)
_HOST_NAME = "hostname"


def node_environments(
    run: Json, results: Sequence[Json], registered: Iterable[Json] | None
) -> list[Json]:
    """Return the environment of each node of a run, sorted by the name of the node.

    Each entry has the `name` of the node, its `environment` with a list of the different values
    that its results have for each property, and its `registration`.

    Args:
        run: The run, as the API returns it.
        results: Its results, as the API returns them.
        registered: The nodes of the farm, as the API returns them; None if they are unknown.
    """
    known = {} if registered is None else {node["name"]: node for node in registered}
    absent = "the export did not read it" if registered is None else "the farm has no such node"
    names = {result["node"] for result in results if isinstance(result.get("node"), str)}
    names.update(name for name in run.get("nodes") or () if isinstance(name, str))
    return [
        {
            "name": name,
            "environment": _environment(
                [result for result in results if result.get("node") == name]
            ),
            "registration": (
                _registration(known[name]["registration"])
                if name in known
                else {"status": "unavailable", "reason": absent}
            ),
        }
        for name in sorted(names)
    ]


def _registration(registered: Json) -> dict[str, Any]:
    found = {key: registered[key] for key in _REGISTERED if key in registered}
    found["facts"] = {key: fact for key, fact in found["facts"].items() if key != _HOST_NAME}
    return found


def _environment(results: Sequence[Json]) -> dict[str, list[Any]]:
    measured = [_object(result, "measurement") for result in results]
    return {
        **{
            key: _different(_object(m, "environment").get(key) for m in measured) for key in _FIELDS
        },
        **{
            key: _different(_object(m, "provenance").get(key) for m in measured)
            for key in _PROVENANCE
        },
    }


def _object(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _different(values: Iterable[Any]) -> list[Any]:
    """Return the different values in the order of their first occurrence, without nulls."""
    found: list[Any] = []
    for value in values:
        if value is not None and value not in found:
            found.append(value)
    return found
