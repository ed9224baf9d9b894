"""The settings of the exporter health."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from ffrtmp_shared.constrained_types import MasterUrl
from ffrtmp_shared.credentials import ClientCertificate
from ffrtmp_shared.exporter import ExporterSettings
from msgspec import Meta

_DAY_S = 86_400


class HealthExporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings file of the exporter health.

    Connections to the master and to the components present the certificate of the exporter's HTTP
    server if they are asked for one.

    Attributes:
        exporter: The settings of the HTTP server.
        ca_file: The CA certificate that the certificates of all components are verified with.
        master_url: The URL of the master, whose nodes and runs are exported, and whose registered
            workers are probed. Without it, only the components of `components_file` are probed.
        token_file: The file that contains the token, which has the role viewer.
        components_file: The list of components that are probed in addition to the workers. It is
            loaded again when it changes.
        refresh_s: The pause between two reads of the master, in seconds.
        probe_interval_s: The time between the starts of two probes of a component, in seconds.
        probe_timeout_s: The longest duration of a probe, in seconds.
        components_max: The maximum number of components that are probed.
        disk_window_s: The period from which the time until a disk is full is calculated, in
            seconds.
        disk_history_min_s: The shortest period from which it is calculated, in seconds.
        log_level: The minimum level of the messages that are logged.
    """

    exporter: ExporterSettings
    ca_file: Path
    master_url: MasterUrl | None = None
    token_file: Path | None = None
    components_file: Path | None = None
    refresh_s: Annotated[float, Meta(gt=0, le=_DAY_S)] = 15.0
    probe_interval_s: Annotated[float, Meta(ge=1, le=_DAY_S)] = 30.0
    probe_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 5.0
    components_max: Annotated[int, Meta(ge=1, le=20_000)] = 2000
    disk_window_s: Annotated[float, Meta(gt=0, le=30 * _DAY_S)] = 21_600.0
    disk_history_min_s: Annotated[float, Meta(gt=0, le=30 * _DAY_S)] = 900.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def client_certificate(self) -> ClientCertificate:
        """The certificate that connections present if they are asked for one."""
        return ClientCertificate(self.exporter.certificate_file, self.exporter.key_file)

    def __post_init__(self) -> None:
        """Raise ValueError if settings contradict each other."""
        if (self.master_url is None) != (self.token_file is None):
            raise ValueError("master_url and token_file go together: set both or neither")
        if self.disk_history_min_s > self.disk_window_s:
            raise ValueError("disk_history_min_s must not exceed disk_window_s")
