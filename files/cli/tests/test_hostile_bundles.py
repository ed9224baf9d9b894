"""Zip files that a stranger has made: they are refused before anything is decompressed."""

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.reproduction.result_source import ResultFile
from ffrtmp_client import bundle_archive
from ffrtmp_client.bundle_check import verify
from ffrtmp_client.bundle_writer import bundle_content, write_bundle
from ffrtmp_client.errors import SettingsError
from ffrtmp_client.saved_results import read_saved_results

from .saved_run import write_run


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The valid bundle of a run."""
    path = tmp_path / "run.zip"
    with path.open("wb") as file:
        write_bundle(bundle_content(write_run(tmp_path / "run"), "0.2.0"), file)
    return path


def _assert_refused(path: Path, reason: str) -> None:
    for read in (verify, read_saved_results):
        with pytest.raises(SettingsError, match=reason) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "ffrtmp export" in str(caught.value)
    with pytest.raises(CommandError, match=reason):
        ResultFile(path).results_with("clip")


def _add(bundle: Path, entry: zipfile.ZipInfo, content: bytes = b"content") -> None:
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr(entry, content)


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "logs/../../outside",
        "/etc/passwd",
        "logs//file",
        "./file",
        "logs\\file",
        "C:file",
        ".bashrc",
        "-rf",
        "new\nline",
        "a" * 300,
        "/".join(["a"] * 20),
        "sp ace",
        "é",
        "../",
    ],
)
def test_a_name_that_may_leave_the_directory_is_refused(bundle: Path, name: str) -> None:
    _add(bundle, zipfile.ZipInfo(name))
    _assert_refused(bundle, "is not a safe relative path")


def test_a_name_with_a_null_character_is_refused(bundle: Path) -> None:
    _add(bundle, zipfile.ZipInfo("suffixXhidden"))
    content = bundle.read_bytes().replace(b"suffixXhidden", b"suffix\0hidden")
    bundle.write_bytes(content)
    _assert_refused(bundle, "is not a safe relative path")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_a_link_or_a_special_file_is_refused(bundle: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("logs/link")
    entry.create_system = 3
    entry.external_attr = (kind | 0o777) << 16
    _add(bundle, entry, b"/etc/passwd")
    _assert_refused(bundle, "is a link or another special file")


@pytest.mark.parametrize("name", ["results.json", "Results.json"])
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_name_that_occurs_twice_is_refused(bundle: Path, name: str) -> None:
    _add(bundle, zipfile.ZipInfo(name))
    _assert_refused(bundle, "more than once")


def test_directories_without_content_are_accepted(bundle: Path) -> None:
    entry = zipfile.ZipInfo("logs/")
    entry.external_attr = (stat.S_IFDIR | 0o755) << 16
    _add(bundle, entry, b"")
    assert verify(bundle).problems == ()
    _add(bundle, zipfile.ZipInfo("other/"), b"content")
    _assert_refused(bundle, "is a directory with a content")


def test_an_encrypted_entry_is_refused(bundle: Path) -> None:
    content = bytearray(bundle.read_bytes())
    # Bit 0 of the flags, which are at offset 8 of the entry in the list of files.
    content[content.index(b"PK\x01\x02") + 8] |= 1
    bundle.write_bytes(content)
    _assert_refused(bundle, "without a password")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(bundle: Path, method: int) -> None:
    entry = zipfile.ZipInfo("logs/other")
    entry.compress_type = method
    _add(bundle, entry)
    _assert_refused(bundle, "compressed in another way")


def test_a_bomb_is_refused_by_its_stated_size(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = zipfile.ZipInfo("logs/bomb")
    entry.compress_type = zipfile.ZIP_DEFLATED
    _add(bundle, entry, bytes(20_000_000))
    assert bundle.stat().st_size < 100_000
    monkeypatch.setattr(bundle_archive, "MAX_BYTES", 10_000_000)

    def fail(*_: object) -> None:
        raise AssertionError("decompressed")

    monkeypatch.setattr(zipfile.ZipFile, "open", fail)
    _assert_refused(bundle, "10000000 are permitted")


def test_a_bomb_that_states_a_small_size_is_not_decompressed(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than the stated size is read, and the digest then differs."""
    entry = zipfile.ZipInfo("logs/bomb")
    entry.compress_type = zipfile.ZIP_DEFLATED
    _add(bundle, entry, bytes(20_000_000))
    content = bundle.read_bytes()
    bundle.write_bytes(content.replace(struct.pack("<L", 20_000_000), struct.pack("<L", 1000)))
    read: list[int] = []
    measure = bundle_archive.measure

    def count(file: io.BufferedIOBase) -> tuple[str, int]:
        found = measure(file)  # type: ignore[arg-type]
        read.append(found[1])
        return found

    monkeypatch.setattr(bundle_archive, "measure", count)
    problems = verify(bundle).problems
    assert ("additional", "logs/bomb") in [(problem.kind, problem.path) for problem in problems]
    assert max(read) < 100_000


def test_too_many_files_are_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_archive, "MAX_FILES", 3)
    _assert_refused(bundle, "3 are permitted")


def test_a_large_list_of_files_is_refused_before_it_is_read(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_archive, "MAX_LIST_BYTES", 100)

    def fail(*_: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr(zipfile, "ZipFile", fail)
    _assert_refused(bundle, "its list of files has")


def test_a_large_list_in_the_records_for_large_files_is_refused(bundle: Path) -> None:
    content = bundle.read_bytes()
    end = content[-22:]
    size, offset = struct.unpack("<2L", end[12:20])
    large = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 9, 9, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(content) - 22, 1)
    bundle.write_bytes(content[:-22] + large + locator + end)
    # Another program may write these records, also for small files.
    assert verify(bundle).problems == ()
    large = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 9, 9, 2**40, offset)
    bundle.write_bytes(content[:-22] + large + locator + end)
    _assert_refused(bundle, "its list of files has 1099511627776 bytes")
    bundle.write_bytes(content[:-22] + bytes(56) + locator + end)
    _assert_refused(bundle, "its end is damaged")


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda _: b"text",
        lambda _: b"PK\x03\x04" + bytes(100),
        lambda content: content + b"x",
        lambda content: content[:-2] + b"\x05\x00abcde",
        lambda content: content[:-22] + b"PK\x05\x06" + b"\xff" * 16 + b"\0\0",
        zlib.compress,
    ],
)
def test_what_is_no_zip_file_is_refused(bundle: Path, change: Callable[[bytes], bytes]) -> None:
    bundle.write_bytes(change(bundle.read_bytes()))
    _assert_refused(bundle, "zip file|list of files")


def test_a_zip_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "text")
    with pytest.raises(SettingsError, match=r"does not contain manifest\.json.*ffrtmp export"):
        read_saved_results(path)
    missing = {problem.path for problem in verify(path).problems}
    assert missing == {"manifest.json", "SHA256SUMS"}


def test_a_bundle_with_another_name_is_recognized(bundle: Path) -> None:
    renamed = bundle.rename(bundle.with_name("run.ffrtmp"))
    assert len(read_saved_results(renamed).results) == 2


def test_a_bundle_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(SettingsError, match="not a regular file"):
        read_saved_results(tmp_path / "pipe.zip")


def test_damaged_data_is_a_problem_of_its_file(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        entry = archive.getinfo("results.csv")
    content = bytearray(bundle.read_bytes())
    content[entry.header_offset + 30 + len("results.csv") + 3] ^= 0xFF
    bundle.write_bytes(content)
    assert [(problem.kind, problem.path) for problem in verify(bundle).problems] == [
        ("damaged", "results.csv")
    ]
    with pytest.raises(SettingsError, match=r"results\.csv in .* is damaged"):
        read_saved_results(bundle)
