"""Constrained types of wire fields. Every value from the network has a maximum size.

The rules for characters and magnitudes are those of `value_rules`.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from ffrtmp_shared import value_rules

Name = Annotated[str, Meta(pattern=value_rules.NAME)]
FileName = Annotated[str, Meta(pattern=value_rules.FILE_NAME)]
Sha256 = Annotated[str, Meta(pattern=value_rules.SHA256)]
Url = Annotated[str, Meta(pattern=value_rules.URL)]
Address = Annotated[str, Meta(pattern=value_rules.ADDRESS)]
Line = Annotated[str, Meta(pattern=value_rules.LINE)]
MasterUrl = Annotated[str, Meta(pattern=value_rules.MASTER_URL)]
"""The URL of an API server. It must not contain a user or a password, which logs would show."""

UnitName = Annotated[str, Meta(pattern=value_rules.UNIT_NAME)]
"""The name of a unit of systemd."""

Word = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=1024)]
LongText = Annotated[str, Meta(max_length=16_384)]

Moment = Annotated[datetime, Meta(tz=True)]

Count = Annotated[int, Meta(ge=0, le=value_rules.MAX_INTEGER)]
Amount = Annotated[float, Meta(ge=0, le=value_rules.MAX_NUMBER)]
"""A number that cannot be negative, such as a duration."""

Real = Annotated[float, Meta(ge=-value_rules.MAX_NUMBER, le=value_rules.MAX_NUMBER)]
"""A number of either sign, such as a difference, a temperature or a score in dB."""

Attempt = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Port = Annotated[int, Meta(ge=1, le=65535)]

Currency = Annotated[str, Meta(pattern=value_rules.CURRENCY)]
"""A currency code of ISO 4217, such as EUR."""

MAX_LABELS = 16
Labels = Annotated[dict[Word, Annotated[str, Meta(max_length=128)]], Meta(max_length=MAX_LABELS)]
