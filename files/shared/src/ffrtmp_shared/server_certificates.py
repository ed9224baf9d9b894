"""TLS context of a server, loaded again when its files change on disk."""

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ffrtmp_shared import certificate_dates
from ffrtmp_shared.certificate_dates import Validity
from ffrtmp_shared.file_watch import FileWatch

_CHECK_INTERVAL_S = 1.0


class CertificateFiles(NamedTuple):
    """Files of a TLS server.

    Clients need a certificate of the CA in `client_ca_file`; without this file, they need none.
    `crl_file` contains the revocation list of that CA; without it, no certificate is considered
    revoked.
    """

    certificate_file: Path
    key_file: Path
    client_ca_file: Path | None
    crl_file: Path | None = None


class CertificateDates(NamedTuple):
    """Dates of the certificates and revocation lists of a server.

    `not_after_s` contains the expiry of each certificate by its name, as a Unix time in seconds.
    """

    not_after_s: dict[str, float]
    lists: tuple[Validity, ...]


class _Loaded(NamedTuple):
    context: ssl.SSLContext
    dates: CertificateDates


class ServerCertificates:
    """Provides the current TLS context of a server, and the dates of its certificates."""

    def __init__(
        self, files: CertificateFiles, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Load the files.

        Args:
            files: The files. They are checked for changes at most once a second.
            clock: Returns the time in seconds.

        Raises:
            OSError: A file cannot be read, or the key does not belong to the certificate.
            ValueError: A file contains no valid certificate or list.
        """
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        self._watch = FileWatch((path for path in files if path is not None), clock)
        self._loaded = _load(files)
        self._checked_at_s = clock()

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection.

        If changed files cannot be loaded, for example because the key has not been replaced yet,
        the previous context stays in use, and they are loaded again at the next check.
        """
        self._refresh()
        return self._loaded.context

    def dates(self) -> CertificateDates:
        """Return the dates of the certificates and the revocation lists that are in use."""
        self._refresh()
        return self._loaded.dates

    def _refresh(self) -> None:
        with self._lock:
            if self._clock() - self._checked_at_s < _CHECK_INTERVAL_S:
                return
            self._checked_at_s = self._clock()
            loaded = self._watch.load_changed(lambda: _load(self._files))
            if loaded is not None:
                self._loaded = loaded


class CertificateCollector(Collector):
    """Exports the dates of the certificates of a program's listeners."""

    def __init__(self, listeners: Mapping[str, ServerCertificates]) -> None:
        """Export the dates of the certificates of each listener, by the listener's name."""
        self._listeners = dict(listeners)

    def collect(self) -> Iterable[Metric]:
        """Yield the dates of the certificates and the revocation lists that are in use."""
        not_after = GaugeMetricFamily(
            "ffrtmp_certificate_not_after_timestamp_seconds",
            "Expiry of the server's certificate and of the CA of its clients",
            labels=["listener", "certificate"],
            unit="seconds",
        )
        issued = GaugeMetricFamily(
            "ffrtmp_revocation_list_this_update_timestamp_seconds",
            "Time at which the revocation list in use was issued",
            labels=["listener"],
            unit="seconds",
        )
        expires = GaugeMetricFamily(
            "ffrtmp_revocation_list_next_update_timestamp_seconds",
            "Time after which the revocation list in use rejects every client",
            labels=["listener"],
            unit="seconds",
        )
        for listener, certificates in self._listeners.items():
            dates = certificates.dates()
            for name, expiry_s in dates.not_after_s.items():
                not_after.add_metric([listener, name], expiry_s)
            if dates.lists:
                issued.add_metric([listener], min(found.begin_s for found in dates.lists))
            ends_s = [found.end_s for found in dates.lists if found.end_s is not None]
            if ends_s:
                expires.add_metric([listener], min(ends_s))
        yield from (not_after, issued, expires)


def _load(files: CertificateFiles) -> _Loaded:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate_file, files.key_file)
    # The first certificate is that of the server; others may follow that complete the chain.
    not_after_s = {"server": _expiries_s(files.certificate_file)[0]}
    lists: list[Validity] = []
    if files.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cafile=files.client_ca_file)
        not_after_s["ca"] = min(_expiries_s(files.client_ca_file))
    if files.crl_file is not None:
        context.load_verify_locations(cafile=files.crl_file)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        lists = certificate_dates.revocation_lists_validity(
            files.crl_file.read_text(encoding="ascii")
        )
        if not lists:
            raise ValueError(f"{files.crl_file} contains no revocation list")
    return _Loaded(context, CertificateDates(not_after_s, tuple(lists)))


def _expiries_s(path: Path) -> list[float]:
    found = certificate_dates.certificates_validity(path.read_text(encoding="utf-8"))
    if not found:
        raise ValueError(f"{path} contains no certificate")
    return [dates.end_s for dates in found if dates.end_s is not None]
