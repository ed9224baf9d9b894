"""Results of encodes at several rate points, for tests of their curves."""

from collections.abc import Iterable, Sequence
from typing import Any

from .documents import result

Point = tuple[int, float, float, float]
"""CRF, bit rate in kbit/s, VMAF NEG, and CPU time in seconds."""

X264: Sequence[Point] = (
    (22, 2150, 93.50, 3.56),
    (26, 1298, 89.47, 2.95),
    (30, 775, 82.78, 2.56),
    (34, 484, 73.07, 2.15),
)
SVTAV1: Sequence[Point] = (
    (32, 1461, 91.45, 2.73),
    (40, 984, 88.73, 2.68),
    (48, 636, 85.11, 2.53),
    (56, 351, 79.34, 2.39),
)
"""Medians that a first look measured on a computer with two cores."""

DEVIATIONS = (-0.02, 0.01, 0.0, 0.03, -0.01, 0.02)
"""Relative deviations of the CPU times and encoding times of the repeats."""


def results_of(
    encode: str, points: Iterable[Point], repeats: int = 6, **changes: Any
) -> list[dict[str, Any]]:
    """Return a result for each repeat of each point, whose output depends only on the point.

    Args:
        encode: Name of the encode: `x264` or `svtav1`, to which further text may be added.
        points: The rate points.
        repeats: Number of repeats, at most six.
        changes: Values by which the result differs: node, source, preset, verdict, energy_j.
    """
    found = []
    encoder, preset = ("libx264", "medium") if encode.startswith("x264") else ("libsvtav1", "8")
    cores = 5 if encoder == "libx264" else 8
    for crf, kbps, neg, cpu_s in points:
        for deviation in DEVIATIONS[:repeats]:
            document = result(
                node=changes.get("node", "worker1"),
                vmaf=neg + 1,
                neg=neg,
                user_s=cpu_s * (1 + deviation),
                system_s=0.0,
            )
            source = changes.get("source", "clip")
            scenario, measurement = document["scenario"], document["measurement"]
            scenario["name"] = f"{source}/{encode}/crf{crf}"
            scenario["source"]["name"] = source
            # The second encoder uses more processors at once.
            measurement["encode"]["speed"] = cores / (cpu_s * (1 + deviation))
            scenario["encode"] |= {
                "encoder": encoder,
                "preset": changes.get("preset", preset),
                "rate": {"crf": crf},
            }
            measurement["output"] |= {
                "video_bitrate_kbps": kbps,
                "sha256": f"{source}{encode}{crf}".encode().hex().ljust(64, "0"),
            }
            measurement["verdict"] = changes.get("verdict", {"state": "valid", "reasons": []})
            if "energy_j" in changes:
                measurement["energy"] = {"gross_j": changes["energy_j"] * cpu_s}
            found.append(document)
    return found
