"""The settings of the exporters that poll the API."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from ffrtmp_shared.constrained_types import MasterUrl
from ffrtmp_shared.exporter import ExporterSettings
from msgspec import Meta


class ApiExporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings file of an exporter that polls the API.

    If the master requires a client certificate, the certificate of the exporter's HTTP server is
    used.

    Attributes:
        exporter: The settings of the HTTP server.
        master_url: The URL of the master.
        token_file: The file that contains the token, which has the role viewer.
        ca_file: The CA certificate that the certificate of the master is verified with.
        refresh_s: The pause between two refreshes, in seconds.
        results_series_max: The maximum number of latest results that the exporters results, qoe and
            cost serve: one for each scenario and rendition on each node.
        results_runs_max: The number of most recent runs whose results they serve.
        results_keep_days: The age in days from which they do not serve a latest result.
        results_recount_s: The time after which they read all results again, because the master may
            have removed old ones, in seconds.
        log_level: The minimum level of the messages that are logged.
    """

    exporter: ExporterSettings
    master_url: MasterUrl
    token_file: Path
    ca_file: Path
    refresh_s: Annotated[float, Meta(gt=0, le=86_400)] = 15.0
    results_series_max: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    results_runs_max: Annotated[int, Meta(ge=1, le=1000)] = 100
    results_keep_days: Annotated[float, Meta(gt=0, le=36_500)] = 90.0
    results_recount_s: Annotated[float, Meta(gt=0, le=31_536_000)] = 86_400.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
