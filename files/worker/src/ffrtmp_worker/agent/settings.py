"""What an operator sets for the agent."""

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

    To a master, or the statistics of an RTMP server, that ask for a certificate the agent shows
    `certificate_file`, whose key is in `key_file`. `address` is where this node's exporters are
    reached, `exporters` their ports by name.
    Every slot has its own folder below `work_dir` and `spool_dir`; `cache_dir` holds sources and
    is shared by the node's slots. `quality_ffmpeg` is an FFmpeg with libvmaf; it may be the same
    file as `ffmpeg`, the one under test. `progress_socket` is the FFmpeg exporter's socket and
    `energy_socket` the energy reader's, or null where there is none. Before an encode the host's
    idle power is measured for `energy_idle_s` seconds. Streams are sent to the application
    `rtmp_url` of an RTMP server, or nowhere where it is null, and what the server counts of them is
    read from its page `rtmp_stat_url`, where there is one. A job is refused as the node's fault
    while less than `min_free_bytes` are free in `work_dir`. With `allow_ffmpeg_under_test` jobs may
    bring an FFmpeg of their own, which then runs here as the agent's user. Where an hour of this
    host has a price (`host_price_per_hour`, in `currency`), so have the streams that it holds; the
    energy is added where it is priced by itself, by the kWh.
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
        """Raise ValueError for prices that could not be told from others."""
        if self.currency is None and (self.host_price_per_hour, self.energy_price_per_kwh) != (
            None,
            None,
        ):
            raise ValueError("prices need the `currency` that they are in, such as EUR")
