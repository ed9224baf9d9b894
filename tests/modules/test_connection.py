"""Tests of the modules' TLS and authentication, and of their messages if a connection fails."""

import hashlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import ffrtmp_node_info
import ffrtmp_run_info
import pytest
import trustme
from ansible.module_utils.ffrtmp.api import Master
from ansible.module_utils.ffrtmp.errors import CorruptError, UnreachableError

from .conftest import RunModule, own_farm
from .farm import Farm


def test_unknown_token_is_refused(run_module: RunModule, farm: Farm) -> None:
    answer = run_module(ffrtmp_node_info, **{**farm.connection, "token": "not-a-token"})

    assert answer["rc"] == 1
    assert "token" in answer["msg"]
    assert "not-a-token" not in json.dumps(answer)


def test_certificate_of_another_authority_is_refused(
    run_module: RunModule, farm: Farm, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))

    answer = run_module(
        ffrtmp_run_info,
        **{**farm.connection, "ca_file": str(tmp_path / "other.pem")},
        run_id="019a0000-0000-7000-8000-000000000000",
        wait_change_s=30,
    )

    assert answer["rc"] == 1
    assert "is rejected" in answer["msg"]
    assert "Set ca_file" in answer["msg"]


@pytest.mark.slow
@own_farm
def test_certificate_is_presented_to_a_master_that_requires_one(
    run_module: RunModule, farm: Farm
) -> None:
    farm.stop()
    farm.require_certificates()
    farm.start()

    refused = run_module(ffrtmp_node_info, **farm.connection)
    certificate = {
        "client_cert": str(farm.folder / "host.pem"),
        "client_key": str(farm.folder / "host.key"),
    }
    answer = run_module(ffrtmp_node_info, **farm.connection, **certificate)

    assert refused["rc"] == 1
    assert "set client_cert and client_key" in refused["msg"]
    assert answer["rc"] == 0, answer["msg"]
    assert answer["nodes"] == []


def test_certificate_for_another_name_is_refused(run_module: RunModule, farm: Farm) -> None:
    url = farm.url.replace("127.0.0.1", "localhost")

    answer = run_module(ffrtmp_node_info, **{**farm.connection, "master_url": url})

    assert answer["rc"] == 1
    assert "a name or address that the certificate contains" in answer["msg"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"master_url": "http://127.0.0.1:8080"}, "must look like https://HOST:8080"),
        ({"client_cert": "/nonexistent/me.pem"}, "client_cert /nonexistent/me.pem with client_key"),
        ({"client_key": "/nonexistent/me.key"}, "client_key needs client_cert"),
        ({"ca_file": "/nonexistent/ca.pem"}, "ca_file /nonexistent/ca.pem cannot be read"),
    ],
)
def test_invalid_settings_are_refused(
    run_module: RunModule, farm: Farm, wrong: dict[str, str], message: str
) -> None:
    answer = run_module(ffrtmp_node_info, **{**farm.connection, **wrong})

    assert answer["rc"] == 1
    assert message in answer["msg"]


@own_farm
def test_a_server_that_is_not_a_master_is_reported(
    run_module: RunModule, farm: Farm, tmp_path: Path
) -> None:
    farm.stop()
    server = http.server.HTTPServer(("127.0.0.1", farm.port), _Hello)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(farm.folder / "host.pem", farm.folder / "host.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.handle_request)
    thread.start()

    answer = run_module(ffrtmp_node_info, **farm.connection)
    thread.join()
    server.server_close()

    assert answer["rc"] == 1
    assert "is master_url the farm's master?" in answer["msg"]


class _Hello(http.server.BaseHTTPRequestHandler):
    """Answers every request with the text hello."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Log nothing."""


class _Cut(http.server.BaseHTTPRequestHandler):
    """Serves a file, of which each response lacks all but the first 1,000 bytes.

    Attributes:
        content: The file.
        served_bytes: How many bytes of each response are sent.
        has_ranges: Whether the server supports ranges.
        offsets: Offset of each request.
    """

    content = bytes(range(250)) * 14
    served_bytes = 1000
    has_ranges = True
    offsets: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "bytes=0-")
        offset = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.offsets.append(offset)
        body = self.content[offset if self.has_ranges else 0 :]
        self.send_response(206 if offset and self.has_ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.served_bytes])
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Log nothing."""


@pytest.fixture
def cut_master(tmp_path: Path) -> Iterator[Master]:
    """A client of a server that cuts its connections."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Cut)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    _Cut.offsets.clear()
    url = f"https://127.0.0.1:{server.server_address[1]}"
    yield Master(url, "token", str(tmp_path / "ca.pem"), 5.0)
    server.shutdown()
    thread.join()
    server.server_close()


def _download(master: Master, file: Path, content: bytes = _Cut.content) -> bytes:
    with file.open("w+b") as target:
        digest = hashlib.sha256(content).hexdigest()
        master.download("/file", target, digest, len(_Cut.content))
    return file.read_bytes()


def test_a_download_that_was_cut_is_resumed(cut_master: Master, tmp_path: Path) -> None:
    assert _download(cut_master, tmp_path / "file") == _Cut.content
    assert _Cut.offsets == [0, 1000, 2000, 3000]


def test_a_download_that_is_always_cut_is_not_reported_as_damage(
    cut_master: Master, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Cut, "has_ranges", False)
    with pytest.raises(UnreachableError, match="was cut after 1000 of 3500 bytes"):
        _download(cut_master, tmp_path / "file")


def test_a_damaged_file_is_reported_as_such(
    cut_master: Master, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Cut, "served_bytes", len(_Cut.content))
    with pytest.raises(CorruptError, match="is damaged"):
        _download(cut_master, tmp_path / "file", b"another file")
