"""Directory of the results of a run, in the form that `ffrtmp results` writes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ffrtmp_client.results import artifact_path, as_json, as_sha256sums

ID = "01a22f74-4189-7583-8ad0-082533c24f32"
CONTENTS = {"ffmpeg.log": b"log\n" * 1000, "scores.parquet": b"PAR1 scores PAR1"}


def result_document(repeat: int) -> dict[str, Any]:
    """Return a result with two artifacts."""
    return {
        "id": f"result-{repeat}",
        "job_id": f"job-{repeat}",
        "node": "worker1",
        "repeat": repeat,
        "attempt": 1,
        "stored_at": "2026-12-01T02:30:00Z",
        "scenario": {"name": "clip/x264/crf30"},
        "measurement": {
            "environment": {"cpu_model": "AMD EPYC", "kernel": f"6.{repeat}"},
            "provenance": {"agent_version": "0.2.0"},
        },
        "artifacts": [
            {
                "name": name,
                "sha256": hashlib.sha256(content).hexdigest(),
                "size_bytes": len(content),
            }
            for name, content in CONTENTS.items()
        ],
    }


def run_document(**values: Any) -> dict[str, Any]:
    """Return a run with two jobs."""
    return {
        "id": ID,
        "suite_name": "demo",
        "state": "succeeded",
        "counts": {"succeeded": 2},
        "created_at": "2026-12-01T02:00:00Z",
        "finished_at": "2026-12-01T02:31:00Z",
        "nodes": ["worker1"],
        **values,
    }


def write_run(
    directory: Path, run: Mapping[str, Any] | None = None, results: int = 2, farm: str = "lab"
) -> Path:
    """Write the directory of a run and return its path."""
    found = [result_document(repeat) for repeat in range(1, results + 1)]
    document = {
        "farm": farm,
        "run": run or run_document(),
        "results": found,
        "precision": {"medians": [], "drifts": []},
    }
    files = {
        "results.json": as_json(document),
        "results.csv": b"result_id,speed\n"
        + b"".join(b"%s,2.0\n" % result["id"].encode() for result in found),
        "suite.yml": b"name: demo\n",
    }
    for result in found:
        for name, content in CONTENTS.items():
            files[artifact_path(result, name)] = content
    for name, content in files.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    write_sums(directory)
    return directory


def write_sums(directory: Path) -> None:
    """Write the digests of all files of a directory."""
    digests = {
        file.relative_to(directory).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in directory.rglob("*")
        if file.is_file() and file.name != "SHA256SUMS"
    }
    (directory / "SHA256SUMS").write_bytes(as_sha256sums(digests))
