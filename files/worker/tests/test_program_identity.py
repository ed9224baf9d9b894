"""Tests of the identity of programs, with real programs and shared libraries."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ffrtmp_worker.ffmpeg import elf
from ffrtmp_worker.ffmpeg.program_identity import ProgramIdentity


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a program that loads the library `libc.so.6` from the folder `libraries`."""
    copy = tmp_path / "program"
    # This program accepts -version as text to print, so that it needs no compiler.
    shutil.copyfile("/usr/bin/printf", copy)
    copy.chmod(0o755)
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    shutil.copyfile(_libc(), libraries / "libc.so.6")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(libraries))
    return copy


def _libc() -> str:
    listed = subprocess.run(
        ["/usr/bin/ldd", "/usr/bin/printf"], check=True, capture_output=True, text=True
    ).stdout
    return next(line.split()[2] for line in listed.splitlines() if "libc.so.6" in line)


def test_an_unchanged_program_keeps_its_fingerprint(program: Path) -> None:
    identity = ProgramIdentity(program)
    found = identity.fingerprint()
    assert found is not None
    assert identity.fingerprint() == found
    assert ProgramIdentity(program).fingerprint() == found


def test_an_upgrade_of_a_library_changes_the_fingerprint(program: Path) -> None:
    identity = ProgramIdentity(program)
    before = identity.fingerprint()
    library = program.parent / "libraries" / "libc.so.6"
    upgraded = library.with_suffix(".new")
    shutil.copyfile(library, upgraded)
    os.utime(upgraded, ns=(1, 1))
    upgraded.replace(library)
    after = identity.fingerprint()
    assert after not in (None, before)
    assert ProgramIdentity(program).fingerprint() == after


def test_a_replaced_program_changes_the_fingerprint(program: Path) -> None:
    identity = ProgramIdentity(program)
    before = identity.fingerprint()
    other = program.with_name("other")
    shutil.copyfile("/usr/bin/echo", other)
    other.chmod(0o755)
    other.replace(program)
    assert identity.fingerprint() not in (None, before)


def test_ffmpeg_and_ffprobe_are_identified(
    ffmpeg: Path, system_ffmpeg: Path, ffprobe: Path
) -> None:
    found = [ProgramIdentity(file).fingerprint() for file in (ffmpeg, system_ffmpeg, ffprobe)]
    assert None not in found
    assert len(set(found)) == 3


def test_a_script_is_not_identified_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    identity = ProgramIdentity(script)
    assert identity.fingerprint() is None
    os.utime(script, ns=(1, 1))
    assert identity.fingerprint() is None
    assert [record.message for record in caplog.records] == [
        "measurements of a program are not cached, because it cannot be identified"
    ]


def test_a_link_to_a_launcher_is_not_identified(program: Path) -> None:
    launcher = program.rename(program.with_name("snap"))
    program.symlink_to(launcher)
    assert ProgramIdentity(program).fingerprint() is None


def test_a_program_that_fails_or_does_not_exist_is_not_identified(tmp_path: Path) -> None:
    failing = tmp_path / "failing"
    shutil.copyfile("/usr/bin/false", failing)
    failing.chmod(0o755)
    assert ProgramIdentity(failing).fingerprint() is None
    assert ProgramIdentity(tmp_path / "absent").fingerprint() is None


def test_a_program_is_not_identified_without_ldd(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(program.parent))
    assert ProgramIdentity(program).fingerprint() is None


def test_a_dynamic_program_is_recognized(ffmpeg: Path, tmp_path: Path) -> None:
    assert elf.is_dynamic(ffmpeg)
    # Without the type of its header PT_INTERP, a program needs no loader.
    content = bytearray(ffmpeg.read_bytes()[:4096])
    start = int.from_bytes(content[32:40], "little")
    for place in range(start, start + 56 * content[56], 56):
        if content[place] == 3:
            content[place] = 4
    static = tmp_path / "static"
    static.write_bytes(content)
    assert not elf.is_dynamic(static)
    static.write_bytes(content[:100])
    with pytest.raises(OSError, match="no complete program headers"):
        elf.is_dynamic(static)
