"""Tests of TLS contexts that follow their files on disk."""

import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certificates import Site
from ffrtmp_shared import server_certificates
from ffrtmp_shared.server_certificates import (
    CertificateCollector,
    CertificateFiles,
    ServerCertificates,
)
from prometheus_client import CollectorRegistry

_NOT_AFTER = "ffrtmp_certificate_not_after_timestamp_seconds"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def loaded(site: Site, clock: Clock, *, with_list: bool = False) -> ServerCertificates:
    crl_file = site.crl_file if with_list else None
    files = CertificateFiles(site.certificate_file, site.key_file, site.ca_file, crl_file)
    return ServerCertificates(files, clock)


def value(certificates: ServerCertificates, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(CertificateCollector({"api": certificates}))
    return registry.get_sample_value(name, {"listener": "api", **labels})


def test_an_unchanged_context_is_kept(site: Site) -> None:
    clock = Clock()
    certificates = loaded(site, clock)
    first = certificates.context()
    clock.now += 2
    assert certificates.context() is first


def test_a_renewed_certificate_is_loaded(site: Site) -> None:
    clock = Clock()
    certificates = loaded(site, clock)
    first = certificates.context()
    expiry = datetime(2031, 1, 2, tzinfo=UTC)
    site.renew(expiry)
    assert certificates.context() is first, "the files are checked once a second"
    clock.now += 2
    assert certificates.context() is not first
    assert value(certificates, _NOT_AFTER, certificate="server") == expiry.timestamp()


def test_a_certificate_without_its_key_is_not_used(site: Site) -> None:
    clock = Clock()
    certificates = loaded(site, clock)
    first, key = certificates.context(), site.key_file.read_bytes()
    before = value(certificates, _NOT_AFTER, certificate="server")
    site.renew(datetime(2031, 1, 2, tzinfo=UTC))
    new_key = site.key_file.read_bytes()
    site.replace(site.key_file, key)
    clock.now += 2
    assert certificates.context() is first
    assert value(certificates, _NOT_AFTER, certificate="server") == before
    site.replace(site.key_file, new_key)
    clock.now += 2
    assert certificates.context() is not first


def test_files_that_could_not_be_loaded_are_loaded_later(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The cause of a failure may disappear without a change of the files."""
    clock = Clock()
    certificates = loaded(site, clock)
    first = certificates.context()
    site.renew(datetime(2031, 1, 2, tzinfo=UTC))
    load = server_certificates._load

    def fail(_: CertificateFiles) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(server_certificates, "_load", fail)
    for _ in range(10):
        clock.now += 2
        assert certificates.context() is first
    assert caplog.text.count("Too many open files") == 1
    clock.now += 60
    assert certificates.context() is first
    assert caplog.text.count("Too many open files") == 2
    monkeypatch.setattr(server_certificates, "_load", load)
    clock.now += 2
    assert certificates.context() is not first


@pytest.mark.parametrize("name", ["host.pem", "host.key", "ca.pem", "crl.pem"])
@pytest.mark.parametrize("content", [None, b"", b"no certificate\n"])
def test_a_missing_or_damaged_file_changes_nothing(
    site: Site, name: str, content: bytes | None
) -> None:
    clock = Clock()
    site.revoke([])
    certificates = loaded(site, clock, with_list=True)
    first = certificates.context()
    if content is None:
        (site.folder / name).unlink()
    else:
        site.replace(site.folder / name, content)
    clock.now += 2
    assert certificates.context() is first
    with pytest.raises((OSError, ValueError)):
        loaded(site, clock, with_list=True)


def test_the_dates_of_certificates_and_list_are_exported(site: Site) -> None:
    issued = datetime.now(UTC).replace(microsecond=0) - timedelta(days=50)
    site.revoke([], issued, issued + timedelta(days=4000))
    certificates = loaded(site, Clock(), with_list=True)
    this_update = "ffrtmp_revocation_list_this_update_timestamp_seconds"
    next_update = "ffrtmp_revocation_list_next_update_timestamp_seconds"
    assert value(certificates, this_update) == issued.timestamp()
    assert value(certificates, next_update) == (issued + timedelta(days=4000)).timestamp()
    ca_expiry = value(certificates, _NOT_AFTER, certificate="ca")
    assert ca_expiry is not None
    assert ca_expiry > datetime.now(UTC).timestamp()
    assert value(loaded(site, Clock()), this_update) is None


def test_the_listeners_of_a_program_are_distinguished(site: Site) -> None:
    files = CertificateFiles(site.certificate_file, site.key_file, site.ca_file)
    site.revoke([])
    registry = CollectorRegistry()
    listeners = {"api": files._replace(crl_file=site.crl_file), "metrics": files}
    registry.register(
        CertificateCollector({name: ServerCertificates(item) for name, item in listeners.items()})
    )
    for listener in listeners:
        labels = {"listener": listener, "certificate": "ca"}
        assert registry.get_sample_value(_NOT_AFTER, labels) is not None
    next_update = "ffrtmp_revocation_list_next_update_timestamp_seconds"
    assert registry.get_sample_value(next_update, {"listener": "api"}) is not None
    assert registry.get_sample_value(next_update, {"listener": "metrics"}) is None


def test_a_server_without_client_certificates(site: Site) -> None:
    files = CertificateFiles(site.certificate_file, site.key_file, None)
    certificates = ServerCertificates(files)
    assert value(certificates, _NOT_AFTER, certificate="server") is not None
    assert value(certificates, _NOT_AFTER, certificate="ca") is None
