"""Settings of the agent."""

from pathlib import Path
from typing import Annotated

import msgspec
from ffrtmp_shared.constrained_types import Amount, Count, Currency, MasterUrl, Port
from msgspec import Meta

from ffrtmp_worker.inputs.address_policy import parse_networks
from ffrtmp_worker.measure.measurement_cache import DEFAULT_MAX_BYTES

RTMP_URL = r"^rtmp://([A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:[0-9]{1,5})?/[A-Za-z0-9_-]{1,64}$(?!\n)"
"""Pattern for the URL of an RTMP application, such as `rtmp://media1:1935/live`.

The URL must not contain a user or options.
"""

STAT_URL = r"^https?://([A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:[0-9]{1,5})?/[A-Za-z0-9_./-]{0,256}$(?!\n)"
"""Pattern for the URL of a statistics page, such as `https://media1:8936/stat`.

The URL must not contain a user or options.
"""


MAX_DEADLINE_S = 7 * 86_400
"""Longest deadline of the download of a source, in seconds."""


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent's settings file.

    If the master or the statistics page of the RTMP server requests a client certificate, the agent
    presents `certificate_file` with its key `key_file`. The exporters of this node can be reached
    at `address`; `exporters` contains the port of each exporter by its name.

    Each slot has its own folder below `work_dir` and `spool_dir`. All slots of the node share the
    sources in `cache_dir`. If less than `min_free_bytes` are free in `work_dir`, an attempt fails
    with the failure class of the node. `cache_dir` also contains what was measured of known sources
    and outputs, up to `measurement_cache_max_bytes`; 0 means that everything is measured each time.

    `ffmpeg` is the FFmpeg under test. `quality_ffmpeg` is an FFmpeg with libvmaf and may be the
    same file. If `allow_ffmpeg_under_test` is true, jobs may provide their own FFmpeg, which then
    runs on this host as the agent's user.

    Sources and FFmpeg builds whose URLs suites name are fetched only from public addresses and from
    `source_networks` (in CIDR notation), within `source_deadline_s` seconds and at a rate of at
    least `source_min_bytes_per_s`. A source may have at most `source_max_packets` video packets.

    Outputs are compared with `vmaf_threads` threads; this is the maximum if the job is exclusive.
    If it is null, the number follows from the CPUs, and from `slots_sharing_cpus`, the number of
    slots that share the CPUs of this one (null: unknown); see `ffrtmp_shared.comparison_threads`.

    `progress_socket` is the socket of the FFmpeg exporter, and `energy_socket` is the socket of the
    energy reader; null means that the service does not exist on this node. Before an encode, the
    idle power of the host is measured for `energy_idle_s` seconds.

    Live streams are sent to `rtmp_url`, an application of an RTMP server. If it is null, this node
    cannot run live scenarios. If `rtmp_stat_url` is set, the statistics of the server are read from
    this page. A received stream that a suite measures is stored in `work_dir`, up to
    `received_max_bytes`, until it has been measured.

    If `host_price_per_hour` is set, the cost of streams is computed in `currency`. If energy has a
    separate price, `energy_price_per_kwh`, its cost is added.
    """

    master_url: MasterUrl
    token_file: Path
    ca_file: Path
    certificate_file: Path | None = None
    key_file: Path | None = None
    node_name: str
    address: str
    exporters: dict[str, Port] = {}
    labels: dict[str, str] = {}
    work_dir: Path
    spool_dir: Path
    cache_dir: Path
    cache_max_bytes: Count = 20_000_000_000
    measurement_cache_max_bytes: Count = DEFAULT_MAX_BYTES
    ffmpeg: Path
    ffprobe: Path
    quality_ffmpeg: Path
    vmaf_threads: Annotated[int, Meta(ge=1, le=4096)] | None = None
    slots_sharing_cpus: Annotated[int, Meta(ge=1, le=4096)] | None = None
    progress_socket: Path | None = None
    energy_socket: Path | None = None
    energy_idle_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    rtmp_url: Annotated[str, Meta(pattern=RTMP_URL)] | None = None
    rtmp_stat_url: Annotated[str, Meta(pattern=STAT_URL)] | None = None
    min_free_bytes: Count = 1_000_000_000
    received_max_bytes: Annotated[int, Meta(ge=1, le=10**13)] = 2_147_483_648
    source_networks: tuple[str, ...] = ()
    source_deadline_s: Annotated[float, Meta(gt=0, le=MAX_DEADLINE_S)] = 14_400.0
    source_min_bytes_per_s: Count = 10_000
    source_max_packets: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 2_500_000
    allow_ffmpeg_under_test: bool = False
    currency: Currency | None = None
    host_price_per_hour: Amount | None = None
    energy_price_per_kwh: Amount | None = None
    log_level: str = "info"

    def __post_init__(self) -> None:
        """Raise ValueError if a price is set without a currency, or a network is invalid."""
        try:
            parse_networks(self.source_networks)
        except ValueError as error:
            raise ValueError(f"source_networks: {error}") from error
        if self.currency is None and (self.host_price_per_hour, self.energy_price_per_kwh) != (
            None,
            None,
        ):
            raise ValueError("prices need the `currency` that they are in, such as EUR")
