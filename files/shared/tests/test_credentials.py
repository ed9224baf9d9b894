"""What a client shows, and what it is refused for."""

from pathlib import Path

import pytest
from ffrtmp_shared.credentials import ClientCertificate


def test_a_certificate_goes_with_its_key() -> None:
    both = ClientCertificate.from_files(Path("me.pem"), Path("me.key"))
    assert both == ClientCertificate(Path("me.pem"), Path("me.key"))
    assert ClientCertificate.from_files(None, None) is None
    with pytest.raises(ValueError, match="set both or neither"):
        ClientCertificate.from_files(Path("me.pem"), None)
