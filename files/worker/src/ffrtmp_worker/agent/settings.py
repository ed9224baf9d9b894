"""Settings of the agent."""

from pathlib import Path
from typing import Annotated

import msgspec
from ffrtmp_shared.constrained_types import Amount, Currency
from msgspec import Meta

RTMP_URL = r"^rtmp://([A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:[0-9]{1,5})?/[A-Za-z0-9_-]{1,64}$(?!\n)"
"""An application of an RTMP server, such as `rtmp://media1:1935/live`; no user, no options."""

STAT_URL = r"^https?://([A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:[0-9]{1,5})?/[A-Za-z0-9_./-]{0,256}$(?!\n)"
"""A statistics page of an RTMP server, such as `https://media1:8936/stat`; no user, no options."""


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent's settings file.

    `certificate_file` and its key `key_file` are the client certificate for a master, or a
    statistics page of an RTMP server, that requests one. `address` is the address at which this
    node's exporters are reached, `exporters` are their ports by name.

    Each slot has its own folder below `work_dir` and `spool_dir`. `cache_dir` holds sources and is
    shared by the node's slots. An attempt fails with the failure class of the node if less than
    `min_free_bytes` are free in `work_dir`.

    `ffmpeg` is the FFmpeg under test. `quality_ffmpeg` is an FFmpeg with libvmaf and may be the
    same file. With `allow_ffmpeg_under_test` jobs may provide their own FFmpeg, which then runs on
    this host as the agent's user.

    `progress_socket` is the socket of the FFmpeg exporter and `energy_socket` that of the energy
    reader; null means that there is none. The host's idle power is measured for `energy_idle_s`
    seconds before an encode.

    Live streams are sent to the application `rtmp_url` of an RTMP server; null means that this node
    cannot run them. The statistics of the server are read from `rtmp_stat_url`, if it is set.

    With `host_price_per_hour`, in `currency`, the cost of streams is computed. The cost of energy
    is added if it has a separate price, `energy_price_per_kwh`.
    """

    master_url: str
    token_file: Path
    ca_file: Path
    certificate_file: Path | None = None
    key_file: Path | None = None
    node_name: str
    address: str
    exporters: dict[str, int] = {}
    labels: dict[str, str] = {}
    work_dir: Path
    spool_dir: Path
    cache_dir: Path
    cache_max_bytes: int = 20_000_000_000
    ffmpeg: Path
    ffprobe: Path
    quality_ffmpeg: Path
    vmaf_threads: int = 2
    progress_socket: Path | None = None
    energy_socket: Path | None = None
    energy_idle_s: float = 5.0
    rtmp_url: Annotated[str, Meta(pattern=RTMP_URL)] | None = None
    rtmp_stat_url: Annotated[str, Meta(pattern=STAT_URL)] | None = None
    min_free_bytes: int = 1_000_000_000
    allow_ffmpeg_under_test: bool = False
    currency: Currency | None = None
    host_price_per_hour: Amount | None = None
    energy_price_per_kwh: Amount | None = None
    log_level: str = "info"

    def __post_init__(self) -> None:
        """Raise ValueError if there are prices without a currency."""
        if self.currency is None and (self.host_price_per_hour, self.energy_price_per_kwh) != (
            None,
            None,
        ):
            raise ValueError("prices need the `currency` that they are in, such as EUR")
