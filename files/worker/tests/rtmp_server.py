"""An RTMP server: Nginx with its RTMP module, and statistics that require a client certificate."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme
from ffrtmp_shared.credentials import ClientCertificate
from ffrtmp_worker.measure.rtmp_stat import StatPage
from polling import wait_until

_CONFIG = """
load_module {module};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
rtmp {{ server {{ listen 127.0.0.1:{rtmp}; application live {{ live on; }} }} }}
http {{
  access_log off;
  {temp}
  server {{ listen 127.0.0.1:{http}; location /control {{ rtmp_control all; }} }}
  server {{
    listen 127.0.0.1:{https} ssl;
    ssl_certificate {folder}/host.pem;
    ssl_certificate_key {folder}/host.key;
    ssl_client_certificate {folder}/ca.pem;
    ssl_verify_client on;
    location = /stat {{ rtmp_stat all; }}
    location / {{ return 404; }}
  }}
}}
"""
_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")


@dataclass(frozen=True)
class Server:
    url: str
    control_url: str
    stat: StatPage

    def drop(self, name: str) -> None:
        """Disconnect the publisher of a stream."""
        answer = httpx.get(
            f"{self.control_url}/drop/publisher", params={"app": "live", "name": name}
        )
        assert answer.text == "1"


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Run a server whose files are in `folder`."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None or not _MODULE.exists():
        pytest.fail("Nginx with its RTMP module is not installed: run make test", pytrace=False)
    authority = trustme.CA()
    host = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    host.private_key_pem.write_to_path(str(folder / "host.key"))
    host.cert_chain_pems[0].write_to_path(str(folder / "host.pem"))
    rtmp, http, https = free_port(), free_port(), free_port()
    temp_kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    config = folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            module=_MODULE,
            folder=folder,
            rtmp=rtmp,
            http=http,
            https=https,
            temp=" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in temp_kinds),
        )
    )
    certificate = ClientCertificate(folder / "host.pem", folder / "host.key")
    with subprocess.Popen([nginx, "-c", str(config)], start_new_session=True) as process:
        try:
            wait_until(lambda: _is_listening(rtmp), "Nginx listens")
            yield Server(
                f"rtmp://127.0.0.1:{rtmp}/live",
                f"http://127.0.0.1:{http}/control",
                StatPage(f"https://127.0.0.1:{https}/stat", folder / "ca.pem", certificate),
            )
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
