"""A control node of a farm that has issued the certificate of a worker that joins the farm."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from ansible.module_utils.ffrtmp import join_archive
from cryptography import x509

NODE = "w3"
ADDRESS = "192.0.2.13"
TOKEN = "a-token-of-the-agent"
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class ControlNode:
    """The control node of a farm with the secrets of a worker that joins it."""

    folder: Path
    authority: trustme.CA

    def issue(
        self,
        name: str = NODE,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> None:
        """Write a new certificate and key of a host as those of the worker."""
        issued = self.authority.issue_cert(
            ADDRESS,
            NODE,
            common_name=name,
            not_before=not_before or NOW - timedelta(days=1),
            not_after=not_after or NOW + timedelta(days=90),
        )
        (self.folder / "host.pem").write_bytes(issued.cert_chain_pems[0].bytes())
        (self.folder / "host.key").write_bytes(issued.private_key_pem.bytes())

    def arguments(self, **changed: Any) -> dict[str, Any]:
        """Return the arguments of the module that writes the archive."""
        return {
            "dest": str(self.archive),
            "name": NODE,
            "ca_file": str(self.folder / "ca.pem"),
            "crl_file": str(self.folder / "crl.pem"),
            "certificate_file": str(self.folder / "host.pem"),
            "key_file": str(self.folder / "host.key"),
            "token_file": str(self.folder / "token"),
            "address": ADDRESS,
            "master_url": "https://192.0.2.10:8080",
            "mutual_tls": True,
            "rtmp_url": "rtmp://192.0.2.14:1935/live",
            **changed,
        }

    def content(self) -> join_archive.JoinArchive:
        """Return the content of an archive without checking it."""
        names = {"agent.token": "token"}
        files = {
            name: (self.folder / names.get(name, name)).read_bytes() for name in join_archive.FILES
        }
        host = x509.load_pem_x509_certificate(files["host.pem"])
        return join_archive.JoinArchive(
            NODE,
            host.not_valid_after_utc.strftime(join_archive.TIME_FORMAT),
            {
                "address": ADDRESS,
                "master_url": "https://192.0.2.10:8080",
                "mutual_tls": True,
                "rtmp_url": "",
                "rtmp_stat_url": "",
            },
            files,
        )

    @property
    def archive(self) -> Path:
        """The path of the archive."""
        return self.folder / "w3.tar"

    def write(self, content: join_archive.JoinArchive | bytes) -> None:
        """Write an archive without checking it."""
        packed = content if isinstance(content, bytes) else join_archive.pack(content)
        join_archive.write(self.archive, packed)
