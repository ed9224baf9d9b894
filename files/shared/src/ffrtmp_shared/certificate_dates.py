"""Validity of certificates and certificate revocation lists, read from PEM files.

The structures are those of RFC 5280, sections 4.1 and 5.1. Only the dates are decoded here; TLS
verifies the rest. A library for certificates would add a third to the memory of every exporter.
"""

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s(.+?)-----END \1-----", re.DOTALL)
_CERTIFICATE = "CERTIFICATE"
_CRL = "X509 CRL"

# Tags of DER (ITU-T X.690).
_SEQUENCE = 0x30
_UTC_TIME = 0x17
_GENERALIZED_TIME = 0x18
_EXPLICIT_VERSION = 0xA0

_LONG_LENGTH = 0x80
_LENGTH_BYTES_MAX = 4
# In a certificate, the validity follows the serial number, the algorithm and the issuer.
_VALIDITY_POSITION = 3
# A year of two digits below 50 is in the 21st century (RFC 5280, section 4.1.2.5.1).
_CENTURY_LIMIT = "50"


class Validity(NamedTuple):
    """Dates of a certificate or a revocation list, as Unix times in seconds.

    For a revocation list, these are the dates of this list and of the next one, which may be
    missing.
    """

    begin_s: float
    end_s: float | None


def certificates_validity(text: str) -> list[Validity]:
    """Return the validity of each certificate in the PEM file with this text, in their order.

    Raises ValueError if a certificate cannot be decoded.
    """
    return [_certificate_validity(der) for der in _blocks(text, _CERTIFICATE)]


def revocation_lists_validity(text: str) -> list[Validity]:
    """Return the dates of each revocation list in the PEM file with this text, in their order.

    Raises ValueError if a list cannot be decoded.
    """
    return [_list_validity(der) for der in _blocks(text, _CRL)]


def _blocks(text: str, kind: str) -> Iterator[bytes]:
    for block in _BLOCK.finditer(text):
        if block[1] == kind:
            yield base64.b64decode(block[2])


def _certificate_validity(der: bytes) -> Validity:
    fields = [field for field in _signed_fields(der) if field[0] != _EXPLICIT_VERSION]
    if len(fields) <= _VALIDITY_POSITION or fields[_VALIDITY_POSITION][0] != _SEQUENCE:
        raise ValueError("a certificate has no validity")
    return _dates(_elements(fields[_VALIDITY_POSITION][1]), at_least=2)


def _list_validity(der: bytes) -> Validity:
    return _dates(_signed_fields(der), at_least=1)


def _dates(fields: Iterator[tuple[int, bytes]], at_least: int) -> Validity:
    times_s = [_time_s(*field) for field in fields if field[0] in (_UTC_TIME, _GENERALIZED_TIME)]
    if len(times_s) < at_least:
        raise ValueError("a certificate or revocation list has no dates")
    return Validity(times_s[0], times_s[1] if len(times_s) > 1 else None)


def _signed_fields(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Return the fields of the signed part, which is the first element of the outer sequence."""
    _, outer = next(_elements(der), (0, b""))
    _, signed = next(_elements(outer), (0, b""))
    return _elements(signed)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each element of a sequence."""
    start = 0
    while start < len(data):
        header = data[start : start + 2]
        content_start = start + 2
        length = header[-1]
        if length >= _LONG_LENGTH:
            size = length - _LONG_LENGTH
            length = int.from_bytes(data[content_start : content_start + size])
            content_start += size
            if not 0 < size <= _LENGTH_BYTES_MAX:
                raise ValueError("the length of an element is not valid")
        start = content_start + length
        if start > len(data):
            raise ValueError("an element is truncated")
        yield header[0], data[content_start:start]


def _time_s(tag: int, content: bytes) -> float:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("20" if text[:2] < _CENTURY_LIMIT else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
