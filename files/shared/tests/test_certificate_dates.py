"""Tests of the dates in certificates and revocation lists, compared with another library."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from certificates import Site
from cryptography import x509
from ffrtmp_shared import certificate_dates
from hypothesis import given, settings
from hypothesis import strategies as st

# RFC 5280 requires another encoding of dates from the year 2050.
_EXPIRIES = (datetime(2030, 2, 28, 23, 59, 59, tzinfo=UTC), datetime(2061, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("not_after", _EXPIRIES)
def test_the_dates_of_a_certificate(not_after: datetime) -> None:
    issued = trustme.CA().issue_cert("host", not_after=not_after)
    pem = issued.cert_chain_pems[0].bytes()
    (found,) = certificate_dates.certificates_validity(pem.decode())
    other = x509.load_pem_x509_certificate(pem)
    assert found.end_s == not_after.timestamp() == other.not_valid_after_utc.timestamp()
    assert found.begin_s == other.not_valid_before_utc.timestamp()


def test_the_certificates_of_a_chain_keep_their_order() -> None:
    texts = [
        trustme.CA().issue_cert("host", not_after=expiry).cert_chain_pems[0].bytes().decode()
        for expiry in _EXPIRIES
    ]
    key = trustme.CA().issue_cert("host").private_key_pem.bytes().decode()
    found = certificate_dates.certificates_validity(f"a comment\n{texts[0]}{key}{texts[1]}")
    assert [dates.end_s for dates in found] == [expiry.timestamp() for expiry in _EXPIRIES]


def test_the_dates_of_a_revocation_list(tmp_path: Path) -> None:
    site = Site(tmp_path)
    issued = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    site.revoke([site.authority.issue_cert("w1")], issued, issued + timedelta(days=30_000))
    text = site.crl_file.read_text()
    (found,) = certificate_dates.revocation_lists_validity(text)
    assert found.begin_s == issued.timestamp()
    assert found.end_s == (issued + timedelta(days=30_000)).timestamp()
    assert certificate_dates.certificates_validity(text) == []


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_certificates_are_rejected(data: st.DataObject) -> None:
    der = bytearray(ssl.PEM_cert_to_DER_cert(_PEM))
    for position in data.draw(st.lists(st.integers(0, len(der) - 1), min_size=1, max_size=4)):
        der[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(der)))
    try:
        found = certificate_dates.certificates_validity(ssl.DER_cert_to_PEM_cert(bytes(der[:cut])))
    except ValueError:
        return
    assert len(found) <= 1


def test_a_truncated_certificate_is_rejected() -> None:
    der = ssl.PEM_cert_to_DER_cert(_PEM)
    for length in range(1, len(der)):
        with pytest.raises(ValueError):
            certificate_dates.certificates_validity(ssl.DER_cert_to_PEM_cert(der[:length]))


_PEM = trustme.CA().issue_cert("host").cert_chain_pems[0].bytes().decode()
