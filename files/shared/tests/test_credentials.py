"""Tests of client certificates."""

from pathlib import Path

import pytest
from ffrtmp_shared.credentials import ClientCertificate


def test_a_certificate_requires_its_key() -> None:
    both = ClientCertificate.from_files(Path("me.pem"), Path("me.key"))
    assert both == ClientCertificate(Path("me.pem"), Path("me.key"))
    assert ClientCertificate.from_files(None, None) is None
    with pytest.raises(ValueError, match="set both or neither"):
        ClientCertificate.from_files(Path("me.pem"), None)
