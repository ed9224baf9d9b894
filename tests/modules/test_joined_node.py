"""Tests of the checks of an archive with which a worker joins a farm."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import revocation_list
import trustme
from ansible.module_utils.ffrtmp import join_archive
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import Store
from .joining_worker import ADDRESS, NODE, NOW, ControlNode


def _replaced(node: ControlNode, name: str, content: bytes) -> join_archive.JoinArchive:
    found = node.content()
    return found._replace(files=found.files | {name: content})


def _other_authority(node: ControlNode) -> join_archive.JoinArchive:
    return _replaced(node, "ca.pem", trustme.CA().cert_pem.bytes())


def _other_key(node: ControlNode) -> join_archive.JoinArchive:
    issued = node.authority.issue_cert(NODE, common_name=NODE)
    return _replaced(node, "host.key", issued.private_key_pem.bytes())


def _other_host(node: ControlNode) -> join_archive.JoinArchive:
    node.issue(name="w4")
    return node.content()


def _other_address(node: ControlNode) -> join_archive.JoinArchive:
    found = node.content()
    return found._replace(settings=found.settings | {"address": "192.0.2.99"})


def _later_expiry(node: ControlNode) -> join_archive.JoinArchive:
    return node.content()._replace(expires_at="2999-01-01T00:00:00Z")


def _expired(node: ControlNode) -> join_archive.JoinArchive:
    node.issue(not_after=NOW - timedelta(seconds=1))
    return node.content()


def _not_yet_valid(node: ControlNode) -> join_archive.JoinArchive:
    node.issue(not_before=NOW + timedelta(days=1))
    return node.content()


def _revoked(node: ControlNode) -> join_archive.JoinArchive:
    revoked = [node.folder / "host.pem"]
    revocation_list.write_list(node.authority, node.folder / "crl.pem", revoked)
    return node.content()


def _other_revocations(node: ControlNode) -> join_archive.JoinArchive:
    revocation_list.write_list(trustme.CA(), node.folder / "crl.pem")
    return node.content()


def _key_with_passphrase(node: ControlNode) -> join_archive.JoinArchive:
    text = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
    return _replaced(node, "host.key", text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_authority, "was not issued by the CA in ca.pem"),
        (_other_key, "host.key is not the key of the certificate"),
        (_other_host, "the certificate in host.pem is not that of w3"),
        (_other_address, "the certificate is not valid for the address 192.0.2.99"),
        (_later_expiry, "but the archive states 2999-01-01T00:00:00Z"),
        (_expired, "The archive of w3 expired at"),
        (_not_yet_valid, "and the clock of this computer shows"),
        (_revoked, "the certificate is revoked"),
        (_other_revocations, "crl.pem was not signed by the CA"),
        (_key_with_passphrase, "host.key in the archive does not have the expected PEM format"),
    ],
)
def test_certificates_that_cannot_be_used_are_refused(
    control_node: ControlNode,
    store: Store,
    tmp_path: Path,
    change: Callable[[ControlNode], join_archive.JoinArchive],
    message: str,
) -> None:
    control_node.write(change(control_node))

    answer = store()

    assert answer["rc"] == 1
    assert message in answer["msg"]
    assert not (tmp_path / "secrets").exists()


def _tar(members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:  # type: ignore[call-overload]
        for entry, content in members:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _members(node: ControlNode) -> list[tuple[tarfile.TarInfo, bytes]]:
    found = []
    with tarfile.open(fileobj=io.BytesIO(join_archive.pack(node.content()))) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found.append((member, file.read()))
    return found


def _entry(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o600) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname = kind, mode, "/etc/passwd"
    return entry


def _manifest(node: ControlNode, /, **changed: Any) -> bytes:
    (entry, content), *rest = _members(node)
    manifest = json.dumps(json.loads(content) | changed).encode()
    return _tar([(entry, manifest), *rest])


def _settings(node: ControlNode, **changed: Any) -> bytes:
    return _manifest(node, settings=node.content().settings | changed)


def _instead_of_token(node: ControlNode, entry: tarfile.TarInfo, content: bytes = b"") -> bytes:
    return _tar(
        [(entry, content) if old.name == "agent.token" else (old, kept)
         for old, kept in _members(node)]
    )  # fmt: skip


MALFORMED: dict[str, tuple[Callable[[ControlNode], bytes], str]] = {
    "empty": (lambda _: b"", "not a complete tar archive"),
    "text": (lambda _: b"w3" * 600, "not a complete tar archive"),
    "truncated": (lambda node: join_archive.pack(node.content())[:2000], "lacks agent.token"),
    "compressed": (lambda node: _tar(_members(node), "w:gz"), "not a complete tar archive"),
    "missing": (lambda node: _tar(_members(node)[:-1]), "lacks host.pem"),
    "twice": (lambda node: _tar([*_members(node), _members(node)[1]]), "contained twice"),
    "further file": (
        lambda node: _tar([*_members(node), (_entry("notes.txt"), b"x")]),
        "'notes.txt', which is not a file of an archive",
    ),
    "parent directory": (
        lambda node: _tar([(_entry("../../.ssh/authorized_keys"), b"x"), *_members(node)]),
        "'../../.ssh/authorized_keys', which is not",
    ),
    "absolute path": (
        lambda node: _tar([(_entry("/etc/passwd"), b"x"), *_members(node)]),
        "'/etc/passwd', which is not",
    ),
    "symbolic link": (
        lambda node: _instead_of_token(node, _entry("agent.token", tarfile.SYMTYPE)),
        "'agent.token' in the archive must be a regular file",
    ),
    "hard link": (
        lambda node: _instead_of_token(node, _entry("agent.token", tarfile.LNKTYPE)),
        "must be a regular file",
    ),
    "directory": (
        lambda node: _instead_of_token(node, _entry("agent.token", tarfile.DIRTYPE)),
        "must be a regular file",
    ),
    "device": (
        lambda node: _instead_of_token(node, _entry("agent.token", tarfile.CHRTYPE)),
        "must be a regular file",
    ),
    "mode": (
        lambda node: _instead_of_token(node, _entry("agent.token", mode=0o4755), b"x"),
        "has the mode 4755, not 0600",
    ),
    "large file": (
        lambda node: _instead_of_token(node, _entry("agent.token"), b"x" * (2**20 + 1)),
        "has 1048577 bytes; the limit is 1048576",
    ),
    "large archive": (lambda _: b"\0" * (join_archive.ARCHIVE_MAX_BYTES + 1), "more than"),
    "changed token": (
        lambda node: _instead_of_token(node, _entry("agent.token"), b"another-token\n"),
        "agent.token in the archive does not have the digest",
    ),
    "two tokens": (
        lambda node: join_archive.pack(_replaced(node, "agent.token", b"a\nb\n")),
        "does not contain one token",
    ),
    "manifest": (
        lambda node: _tar([(_entry("join.json"), b"["), *_members(node)[1:]]),
        "is not JSON",
    ),
    "nested manifest": (
        lambda node: _tar([(_entry("join.json"), b"[" * 10**5), *_members(node)[1:]]),
        "is not JSON",
    ),
    "format": (lambda node: _manifest(node, format=2), "does not have the format 1"),
    "field": (lambda node: _manifest(node, command="reboot"), "invalid value: fields"),
    "node": (lambda node: _manifest(node, node="../../w3"), "invalid value: node"),
    "expiry": (lambda node: _manifest(node, expires_at="never"), "invalid value: expires_at"),
    "digests": (lambda node: _manifest(node, files={}), "invalid value: files"),
    "password": (
        lambda node: _settings(node, master_url="https://user:word@192.0.2.10:8080"),
        "invalid value: settings.master_url",
    ),
    "address": (lambda node: _settings(node, address="a b"), "invalid value: settings.address"),
    "text as truth": (
        lambda node: _settings(node, mutual_tls="{{ 1 }}"),
        "invalid value: settings.mutual_tls",
    ),
    "setting": (lambda node: _settings(node, proxy="sh"), "invalid value: settings.proxy"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_archive_is_refused(
    control_node: ControlNode, store: Store, tmp_path: Path, case: str
) -> None:
    build, message = MALFORMED[case]
    control_node.write(build(control_node))

    answer = store()

    assert answer["rc"] == 1
    assert message in answer["msg"]
    assert "Traceback" not in json.dumps(answer)
    assert "word" not in answer["msg"]
    assert not (tmp_path / "secrets").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_an_archive_that_others_can_read_is_refused(
    control_node: ControlNode, store: Store, mode: int
) -> None:
    control_node.write(control_node.content())
    control_node.archive.chmod(mode)

    answer = store()

    assert answer["rc"] == 1
    assert f"chmod 600 {control_node.archive}" in answer["msg"]


@pytest.mark.parametrize(
    ("path", "message"), [("missing.tar", "cannot be read"), (".", "cannot be read")]
)
def test_a_path_that_is_not_an_archive_is_refused(
    control_node: ControlNode, store: Store, path: str, message: str
) -> None:
    answer = store(path=str(control_node.folder / path))

    assert answer["rc"] == 1
    assert message in answer["msg"]


def test_the_directory_of_a_farm_is_not_changed(
    control_node: ControlNode, store: Store, tmp_path: Path
) -> None:
    control_node.write(control_node.content())
    key = tmp_path / "secrets/pki/ca.key"
    key.parent.mkdir(parents=True)
    key.write_text("the key of another CA")

    answer = store()

    assert answer["rc"] == 1
    assert "contains the key of a farm's CA" in answer["msg"]
    assert list((tmp_path / "secrets").rglob("*.pem")) == []


def test_workers_of_two_farms_have_separate_directories(
    control_node: ControlNode, store: Store, tmp_path: Path
) -> None:
    control_node.write(control_node.content())
    store()
    records = tmp_path / "secrets/join"
    (records / "w3.json").rename(records / "w9.json")
    before = (tmp_path / "secrets/pki/ca.pem").read_bytes()
    control_node.authority = trustme.CA()
    control_node.authority.cert_pem.write_to_path(str(control_node.folder / "ca.pem"))
    revocation_list.write_list(control_node.authority, control_node.folder / "crl.pem")
    control_node.issue()
    control_node.write(control_node.content())

    answer = store()

    assert answer["rc"] == 1
    assert "the certificates of w9 in a farm with another CA" in answer["msg"]
    assert (tmp_path / "secrets/pki/ca.pem").read_bytes() == before


def test_an_older_archive_does_not_replace_a_newer_one(
    control_node: ControlNode, store: Store
) -> None:
    control_node.issue(not_before=NOW - timedelta(days=50))
    control_node.write(control_node.content())
    older = control_node.archive.read_bytes()
    assert store()["rc"] == 0
    control_node.issue(not_before=NOW - timedelta(days=1))
    control_node.write(control_node.content())
    renewed = store()
    assert (renewed["rc"], renewed["changed"]) == (0, True)
    control_node.write(older)

    answer = store()

    assert answer["rc"] == 1
    assert "older than the certificate that is in use" in answer["msg"]


def test_an_older_revocation_list_does_not_replace_a_newer_one(
    control_node: ControlNode, store: Store, tmp_path: Path
) -> None:
    """Another worker of the directory may have brought the newer list."""
    offered, stored = control_node.folder / "crl.pem", tmp_path / "secrets/pki/crl.pem"
    for age_days, is_stored in ((20, True), (10, True), (15, False)):
        revocation_list.write_list(control_node.authority, offered, age=timedelta(days=age_days))
        control_node.write(control_node.content())

        answer = store()

        assert (answer["rc"], answer["changed"]) == (0, is_stored), answer
        assert (stored.read_bytes() == offered.read_bytes()) is is_stored


def test_a_revocation_list_of_another_ca_is_replaced(
    control_node: ControlNode, store: Store, tmp_path: Path
) -> None:
    """The directory is that of the only worker, which joins another farm."""
    control_node.write(control_node.content())
    store()
    control_node.authority = trustme.CA()
    control_node.authority.cert_pem.write_to_path(str(control_node.folder / "ca.pem"))
    offered = control_node.folder / "crl.pem"
    revocation_list.write_list(control_node.authority, offered, age=timedelta(days=10))
    control_node.issue()
    control_node.write(control_node.content())

    assert store()["rc"] == 0
    assert (tmp_path / "secrets/pki/crl.pem").read_bytes() == offered.read_bytes()


_SMALL = join_archive.pack(
    join_archive.JoinArchive(
        NODE,
        "2027-01-01T00:00:00Z",
        {
            "address": ADDRESS,
            "master_url": "https://192.0.2.10:8080",
            "mutual_tls": False,
            "rtmp_url": "",
            "rtmp_stat_url": "",
        },
        {name: hashlib.sha256(name.encode()).hexdigest().encode() for name in join_archive.FILES},
    )
)


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, len(_SMALL) - 1), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_changes_nothing(position: int, value: int) -> None:
    changed = bytearray(_SMALL)
    changed[position] = value
    try:
        found = join_archive.unpack(bytes(changed))
    except join_archive.JoinArchiveError:
        return
    wanted = join_archive.unpack(_SMALL)
    assert found.files == wanted.files


@pytest.mark.property
@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=4096))
def test_any_content_is_refused_with_a_message(content: bytes) -> None:
    with pytest.raises(join_archive.JoinArchiveError):
        join_archive.unpack(content)
