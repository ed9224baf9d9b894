"""What the exporters of the API's content have in common in their settings."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from ffrtmp_shared.exporter import ExporterSettings
from msgspec import Meta


class ApiExporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the master is, with which token (role viewer) to ask it, and how often.

    A master that asks for a certificate is shown the exporter's own.
    """

    exporter: ExporterSettings
    master_url: str
    token_file: Path
    ca_file: Path
    refresh_s: Annotated[float, Meta(gt=0)] = 15.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
