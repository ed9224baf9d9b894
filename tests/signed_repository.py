"""An APT repository with stand-ins for a package, signed with a key of its own."""

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

SUITE, COMPONENT = "stable", "main"


def build_repository(folder: Path, name: str, versions: Sequence[str]) -> str:
    """Build a repository, and return the fingerprint of its key.

    The file key.asc in the repository contains the key.

    Args:
        folder: The directory of the repository, which must not exist. The directory that contains
            it gets further files.
        name: The name of the package.
        versions: The versions of the package, of which each contains no files.
    """
    folder.mkdir()
    work = folder.with_name(f"{folder.name}.work")
    indexed = [_build_package(work, folder, name, version) for version in versions]
    architecture = _run("dpkg", "--print-architecture").strip()
    index = f"{COMPONENT}/binary-{architecture}/Packages"
    content = "\n".join(indexed)
    file = folder / "dists" / SUITE / index
    file.parent.mkdir(parents=True)
    file.write_text(content, encoding="ascii")
    release = (
        f"Suite: {SUITE}\nComponents: {COMPONENT}\nArchitectures: {architecture}\n"
        f"Date: {format_datetime(datetime.now(UTC), usegmt=True)}\n"
        f"SHA256:\n {_sha256(content.encode())} {len(content)} {index}\n"
    )
    return _sign(work, folder, release)


def _build_package(work: Path, folder: Path, name: str, version: str) -> str:
    """Build a package, and return its entry in the index."""
    control = (
        f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: Tests <tests@example.com>\nDescription: stand-in of a test\n"
    )
    source = work / version
    (source / "DEBIAN").mkdir(parents=True)
    (source / "DEBIAN/control").write_text(control, encoding="ascii")
    file = folder / f"{name}_{version}_all.deb"
    _run("dpkg-deb", "--build", "--root-owner-group", source, file)
    content = file.read_bytes()
    return f"{control}Filename: {file.name}\nSize: {len(content)}\nSHA256: {_sha256(content)}\n"


def _sign(work: Path, folder: Path, release: str) -> str:
    home = work / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", home, "--batch", "--yes")
    try:
        user = "Tests <tests@example.com>"
        _run(*gpg, "--passphrase", "", "--quick-generate-key", user, "default", "sign")
        signed = folder / "dists" / SUITE / "InRelease"
        _run(*gpg, "--output", signed, "--clearsign", stdin=release)
        (folder / "key.asc").write_text(_run(*gpg, "--armor", "--export"), encoding="ascii")
        records = _run(*gpg, "--with-colons", "--fingerprint", "--list-keys").splitlines()
    finally:
        _run("gpgconf", "--homedir", home, "--kill", "all")
    return next(line.split(":")[9] for line in records if line.startswith("fpr:"))


def _run(program: str, *arguments: str | Path, stdin: str = "") -> str:
    command = [shutil.which(program) or program, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=True)
    return done.stdout


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
