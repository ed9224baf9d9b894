"""Bundles of runs: their contents, their check, and their use in place of a run."""

import hashlib
import json
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ffrtmp_client import bundle_writer
from ffrtmp_client.bundle_check import verify
from ffrtmp_client.bundle_manifest import parse_manifest
from ffrtmp_client.bundle_writer import bundle_content, write_bundle
from ffrtmp_client.errors import CorruptError, SettingsError
from ffrtmp_client.saved_results import read_saved_results

from .conftest import Document, Ffrtmp
from .saved_run import CONTENTS, ID, run_document, write_run, write_sums

_LOG = "logs/worker1/clip_x264_crf30-r1-a1/ffmpeg.log"


def _export(directory: Path, target: Path, farm: str = "") -> Path:
    with target.open("wb") as file:
        write_bundle(bundle_content(directory, "0.2.0", farm), file)
    return target


def _manifest(bundle: Path) -> dict[str, Any]:
    with zipfile.ZipFile(bundle) as archive:
        found: dict[str, Any] = json.loads(archive.read("manifest.json"))
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of a complete run."""
    return write_run(tmp_path / "run")


@pytest.fixture
def bundle(directory: Path, tmp_path: Path) -> Path:
    """The bundle of a complete run."""
    return _export(directory, tmp_path / "run.zip")


def _problems(path: Path) -> list[tuple[str, str]]:
    return [(problem.kind, problem.path) for problem in verify(path).problems]


def test_a_bundle_contains_all_files_with_their_digests(directory: Path, bundle: Path) -> None:
    manifest = _manifest(bundle)
    assert (manifest["schema"], manifest["schema_version"]) == ("ffrtmp/bundle", 1)
    assert (manifest["farm"], manifest["run"]["id"]) == ("lab", ID)
    assert (manifest["is_complete"], manifest["missing"]) == (True, [])
    assert manifest["created_at"] == "2026-12-01T02:31:00Z"
    with zipfile.ZipFile(bundle) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    listed = {entry["path"]: entry for entry in manifest["files"]}
    assert set(contents) == {*listed, "manifest.json", "SHA256SUMS"}
    for path, entry in listed.items():
        assert hashlib.sha256(contents[path]).hexdigest() == entry["sha256"]
        assert len(contents[path]) == entry["size_bytes"]
    assert contents[_LOG] == (directory / _LOG).read_bytes() == CONTENTS["ffmpeg.log"]
    (node,) = json.loads(contents["nodes.json"])["nodes"]
    assert node["environment"]["cpu_model"] == ["AMD EPYC"]
    assert node["environment"]["kernel"] == ["6.1", "6.2"]
    assert node["environment"]["smt"] == []
    assert node["registration"]["status"] == "unavailable"


def test_other_programs_can_check_an_extracted_bundle(bundle: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(bundle, tmp_path / "extracted")
    done = subprocess.run(
        ["/usr/bin/sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"],
        cwd=tmp_path / "extracted",
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert verify(tmp_path / "extracted").problems == ()


def test_equal_runs_give_equal_bundles(directory: Path, bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other place"
    shutil.copytree(directory, other)
    for file in other.rglob("*"):
        os.utime(file, (time.time() - 1e6, time.time() - 1e6))
        if file.is_file():
            file.chmod(0o600)
    assert _export(other, tmp_path / "other.zip").read_bytes() == bundle.read_bytes()
    # The export of an extracted bundle is the same bundle.
    shutil.unpack_archive(bundle, tmp_path / "extracted")
    again = _export(tmp_path / "extracted", tmp_path / "again.zip")
    assert again.read_bytes() == bundle.read_bytes()


def test_a_bundle_has_the_results_of_its_directory(directory: Path, bundle: Path) -> None:
    read = read_saved_results(bundle)
    assert read == read_saved_results(directory)
    assert read.exported["result-1"]["speed"] == "2.0"
    assert read.is_complete


def test_a_bundle_without_a_table_has_no_costs(directory: Path, tmp_path: Path) -> None:
    (directory / "results.csv").unlink()
    bundle = _export(directory, tmp_path / "run.zip")
    assert read_saved_results(bundle).exported == {}
    assert [entry["path"] for entry in _manifest(bundle)["missing"]] == ["results.csv"]


def test_the_manifest_lists_what_is_missing(directory: Path, tmp_path: Path) -> None:
    (directory / _LOG).unlink()
    scores = _LOG.replace("ffmpeg.log", "scores.parquet")
    (directory / scores).unlink()
    (directory / "missing.json").write_text(json.dumps([{"path": scores, "reason": "retention"}]))
    write_sums(directory)
    bundle = _export(directory, tmp_path / "run.zip")
    manifest = _manifest(bundle)
    assert manifest["missing"] == [
        {"path": _LOG, "reason": "the directory does not contain it"},
        {"path": scores, "reason": "retention"},
    ]
    assert not manifest["is_complete"]
    # Files that are known to be missing do not count as damage.
    assert verify(bundle).problems == ()


def test_a_run_that_continues_is_not_complete(tmp_path: Path) -> None:
    run = run_document(
        state="running", finished_at=None, counts={"succeeded": 1, "running": 1, "queued": 3}
    )
    bundle = _export(write_run(tmp_path / "run", run, results=1), tmp_path / "run.zip")
    manifest = _manifest(bundle)
    assert (manifest["job_count"], manifest["result_count"]) == (5, 1)
    assert (manifest["is_complete"], manifest["missing"]) == (False, [])
    assert manifest["created_at"] == "2026-12-01T02:30:00Z"
    assert not read_saved_results(bundle).is_complete


def test_a_damaged_directory_is_not_exported(directory: Path, tmp_path: Path) -> None:
    (directory / _LOG).write_bytes(b"other")
    with pytest.raises(SettingsError, match=rf"{_LOG} is damaged.*ffrtmp verify"):
        _export(directory, tmp_path / "run.zip")


def test_a_link_is_not_exported(directory: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENTS["ffmpeg.log"])
    (directory / _LOG).unlink()
    (directory / _LOG).symlink_to(secret)
    with pytest.raises(SettingsError, match="not a regular file"):
        _export(directory, tmp_path / "run.zip")
    assert _problems(directory) == [("damaged", _LOG)]


def test_a_directory_that_is_too_large_is_not_exported(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_writer, "MAX_BYTES", 100)
    with pytest.raises(SettingsError, match="at most"):
        _export(directory, tmp_path / "run.zip")


@pytest.mark.parametrize(
    "document",
    [
        {"farm": "", "run": {"id": "1"}, "results": [], "precision": {}},
        {"farm": "", "run": run_document(counts=None), "results": [], "precision": {}},
        {"farm": "", "run": run_document(), "results": [{"node": 1}], "precision": {}},
        {"farm": "", "run": run_document(suite_name=None), "results": [], "precision": {}},
    ],
)
def test_results_of_another_form_are_refused(directory: Path, document: dict[str, Any]) -> None:
    (directory / "results.json").write_text(json.dumps(document))
    write_sums(directory)
    with pytest.raises(SettingsError, match="does not have the form of this release"):
        bundle_content(directory, "0.2.0")


def test_a_directory_without_digests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"has no SHA256SUMS.*ffrtmp results"):
        bundle_content(tmp_path, "0.2.0")


def _rewrite(bundle: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Write a bundle again with other contents."""
    with zipfile.ZipFile(bundle) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    change(contents)
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def _remove(name: str) -> Callable[[dict[str, bytes]], None]:
    return lambda contents: contents.__delitem__(name)


def _replace(name: str, content: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda contents: contents.__setitem__(name, content)


def _rename_run(contents: dict[str, bytes]) -> None:
    """Name another run in the manifest, with its new digest."""
    manifest = contents["manifest.json"]
    other = manifest.replace(ID.encode(), b"another")
    contents["manifest.json"] = other
    contents["SHA256SUMS"] = contents["SHA256SUMS"].replace(
        hashlib.sha256(manifest).hexdigest().encode(), hashlib.sha256(other).hexdigest().encode()
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_replace(_LOG, b"other"), [("damaged", _LOG)]),
        (_remove(_LOG), [("missing", _LOG)]),
        (_replace("logs/other", b"content"), [("additional", "logs/other")]),
        (_replace("manifest.json", b"{}"), [("damaged", "manifest.json")]),
        (_remove("manifest.json"), [("missing", "manifest.json")]),
        (_replace("SHA256SUMS", b"nothing"), [("damaged", "SHA256SUMS")]),
        (_replace("SHA256SUMS", b""), [("damaged", "SHA256SUMS")]),
        (_remove("SHA256SUMS"), [("missing", "SHA256SUMS")]),
        (_remove("results.json"), [("missing", "results.json")]),
        (_rename_run, [("damaged", "manifest.json")]),
    ],
)
def test_a_changed_file_is_named(
    bundle: Path,
    change: Callable[[dict[str, bytes]], None],
    expected: list[tuple[str, str]],
    tmp_path: Path,
    ffrtmp: Ffrtmp,
) -> None:
    assert _problems(bundle) == []
    _rewrite(bundle, change)
    assert sorted(set(_problems(bundle))) == expected
    extracted = tmp_path / "extracted"
    shutil.unpack_archive(bundle, extracted)
    # A directory of results has no manifest.
    if (extracted / "manifest.json").exists():
        assert sorted(set(_problems(extracted))) == expected
    outcome = ffrtmp("verify", str(bundle))
    assert outcome.code == 1
    assert f"{expected[0][0]}: {expected[0][1]!r}" in outcome.out
    assert "Copy it again" in outcome.err


def test_both_lists_of_files_must_agree(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        lines = archive.read("SHA256SUMS").splitlines(keepends=True)
    _rewrite(
        bundle, _replace("SHA256SUMS", b"".join(line for line in lines if b"suite" not in line))
    )
    assert _problems(bundle) == [("damaged", "SHA256SUMS")]


def test_a_damaged_byte_is_found_or_does_not_matter(bundle: Path) -> None:
    expected = read_saved_results(bundle)
    content = bundle.read_bytes()
    for position in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        bundle.write_bytes(damaged)
        try:
            problems = verify(bundle).problems
        except SettingsError:
            continue
        # Only a field without a meaning, such as a time, may differ.
        assert problems or read_saved_results(bundle) == expected


def test_a_truncated_bundle_is_refused(bundle: Path) -> None:
    content = bundle.read_bytes()
    for size in (0, 1, 21, 22, 97, 98, 1000, len(content) // 2, len(content) - 1):
        bundle.write_bytes(content[:size])
        with pytest.raises(SettingsError, match=r"zip file.*ffrtmp export"):
            verify(bundle)
        with pytest.raises(SettingsError, match=r"zip file.*ffrtmp export"):
            read_saved_results(bundle)


def test_damaged_results_are_not_read(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        content = archive.read("results.json")
    _rewrite(bundle, _replace("results.json", content.replace(b"worker1", b"worker2")))
    with pytest.raises(SettingsError, match=r"results\.json in .* is damaged.*ffrtmp verify"):
        read_saved_results(bundle)


def test_the_results_of_another_run_are_not_read(bundle: Path) -> None:
    _rewrite(bundle, _rename_run)
    with pytest.raises(SettingsError, match="names another run"):
        read_saved_results(bundle)


def test_a_newer_manifest_is_read(bundle: Path, document: Document, ffrtmp: Ffrtmp) -> None:
    manifest = {**_manifest(bundle), "schema_version": 7, "new": {"field": 1}}
    manifest["files"][0]["new"] = True
    content = json.dumps(manifest).encode()

    def change(contents: dict[str, bytes]) -> None:
        before = hashlib.sha256(contents["manifest.json"]).hexdigest().encode()
        after = hashlib.sha256(content).hexdigest().encode()
        contents["manifest.json"] = content
        contents["SHA256SUMS"] = contents["SHA256SUMS"].replace(before, after)

    _rewrite(bundle, change)
    assert len(read_saved_results(bundle).results) == 2
    found = document("verify", str(bundle))
    assert (found["is_valid"], found["schema_version"]) == (True, 7)
    assert "newer manifest (version 7)" in ffrtmp("verify", str(bundle)).out


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", "other"),
        ("schema_version", 0),
        ("schema_version", True),
        ("producer", None),
        ("farm", 1),
        ("run", {}),
        ("files", [{"path": "../a", "sha256": "0" * 64, "size_bytes": 1}]),
        ("files", [{"path": "a", "sha256": "0", "size_bytes": 1}]),
        ("files", [{"path": "a", "sha256": "0" * 64, "size_bytes": -1}]),
        ("files", [{"path": "a", "sha256": "0" * 64, "size_bytes": 1}] * 2),
        ("files", [1]),
        ("missing", [{"path": "a"}]),
    ],
)
def test_an_invalid_manifest_is_refused(bundle: Path, key: str, value: object) -> None:
    manifest = _manifest(bundle)
    parse_manifest(json.dumps(manifest).encode())
    with pytest.raises(CorruptError, match=r"manifest\.json"):
        parse_manifest(json.dumps({**manifest, key: value}).encode())
