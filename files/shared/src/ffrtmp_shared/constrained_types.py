"""Constrained types of wire fields. Every value from the network has a maximum size."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

# Python's `$` also matches before a trailing line feed, which must be rejected.
_END = r"$(?!\n)"

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}" + _END)]
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}" + _END)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}" + _END)]
Url = Annotated[str, Meta(pattern=r"^https?://[!-~]{1,2000}" + _END)]
MasterUrl = Annotated[
    str,
    Meta(
        pattern=r"^https://([A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])"
        r"(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]{0,1000})?" + _END
    ),
]
"""The URL of an API server. It must not contain a user or a password, which logs would show."""

Address = Annotated[str, Meta(pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:_-]{0,254}" + _END)]
Line = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,255}" + _END)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=1024)]
LongText = Annotated[str, Meta(max_length=16_384)]

Moment = Annotated[datetime, Meta(tz=True)]

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Amount = Annotated[float, Meta(ge=0)]
Attempt = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Port = Annotated[int, Meta(ge=1, le=65535)]

Currency = Annotated[str, Meta(pattern="^[A-Z]{3}" + _END)]
"""A currency code of ISO 4217, such as EUR."""

MAX_LABELS = 16
Labels = Annotated[dict[Word, Annotated[str, Meta(max_length=128)]], Meta(max_length=MAX_LABELS)]
