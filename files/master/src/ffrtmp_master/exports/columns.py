"""The columns of the flat table of results, with their names, types and values.

The first columns are those of results.csv, which the control node writes for each run.
"""

import shlex
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from ffrtmp_shared.measurement import (
    EnergyMeasurement,
    OutputMeasurement,
    QualityMeasurement,
    RateSearch,
    Unavailable,
)
from ffrtmp_shared.models import Result
from ffrtmp_shared.scenario import EncodeSettings

Value = str | int | float | datetime | None


class Kind(StrEnum):
    """The type of a column; values of any type may be missing."""

    TEXT = "text"
    WHOLE = "whole number"
    NUMBER = "number"
    MOMENT = "moment"


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        name: The name, which includes the unit.
        kind: The type.
        of: A function that returns the value for a result.
    """

    name: str
    kind: Kind
    of: Callable[[Result], Value]


def _quality(name: str, kind: Kind, attribute: str = "") -> Column:
    def of(result: Result) -> Value:
        quality = result.measurement.quality
        if not isinstance(quality, QualityMeasurement):
            return None
        value: Value = _measured(getattr(quality, attribute or name))
        return value

    return Column(name, kind, of)


def _encode(name: str, kind: Kind, of: Callable[[EncodeSettings], Value]) -> Column:
    """Return a column for an encode setting; it is empty for kinds without a single encode."""

    def value(result: Result) -> Value:
        settings = result.scenario.encode
        return None if settings is None else of(settings)

    return Column(name, kind, value)


def _used_quality(name: str, kind: Kind) -> Column:
    """Return a column for a constant quality of the suite, or for the one that a search found."""

    def value(result: Result) -> Value:
        search, settings = result.measurement.rate_search, result.scenario.encode
        if search is not None and search.control == name:
            return int(search.setting) if kind is Kind.WHOLE else search.setting
        found: Value = None if settings is None else getattr(settings.rate, name)
        return found

    return Column(name, kind, value)


def _search(name: str, kind: Kind, of: Callable[[RateSearch], Value]) -> Column:
    """Return a column for the search for a requested VMAF; it is empty without one."""

    def value(result: Result) -> Value:
        search = result.measurement.rate_search
        return None if search is None else of(search)

    return Column(name, kind, value)


def _output(name: str, kind: Kind, of: Callable[[OutputMeasurement], Value]) -> Column:
    """Return a column for a property of the output file; it is empty for kinds without one."""

    def value(result: Result) -> Value:
        output = result.measurement.output
        return None if output is None else of(output)

    return Column(name, kind, value)


def _measured(value: Any) -> Any:
    """Return a measured value. If the value is unavailable, return None, never 0."""
    return None if isinstance(value, Unavailable) else value


def _energy(
    name: str, of: Callable[[EnergyMeasurement], float | None], part: str = "energy"
) -> Column:
    """Return a column for an energy value; it is empty for hosts without energy counters."""

    def value(result: Result) -> Value:
        energy = getattr(result.measurement, part)
        return None if isinstance(energy, Unavailable) else of(energy)

    return Column(name, Kind.NUMBER, value)


def _energy_unavailable(result: Result) -> str | None:
    energy = result.measurement.energy
    return energy.reason if isinstance(energy, Unavailable) else None


def _verdict(result: Result) -> str | None:
    verdict = result.measurement.verdict
    return None if verdict is None else verdict.state.value


def _verdict_reasons(result: Result) -> str | None:
    verdict = result.measurement.verdict
    return None if verdict is None else " ".join(reason.code for reason in verdict.reasons)


def _cost(name: str, kind: Kind) -> Column:
    """Return a column for a value of the FFmpeg process; it is empty if unavailable."""
    return Column(name, kind, lambda r: _measured(getattr(r.measurement.encode, name)))


def _of_kind(part: str, name: str, kind: Kind) -> Column:
    """Return a column for a value that only one kind measures; it is empty for other kinds."""

    def value(result: Result) -> Value:
        found: Value = _measured(getattr(getattr(result.measurement, part), name, None))
        return found

    return Column(name, kind, value)


def _received(attribute: str, kind: Kind) -> Column:
    """Return a column for a value of a received stream; it is empty if it was not measured."""

    def value(result: Result) -> Value:
        found: Value = getattr(_measured(result.measurement.received), attribute, None)
        return found

    return Column(f"received_{attribute}", kind, value)


def _stream_cost(name: str, kind: Kind, attribute: str) -> Column:
    """Return a column for a cost per stream; it is empty for hosts without prices."""

    def value(result: Result) -> Value:
        cost = getattr(result.measurement.density, "cost", None)
        found: Value = _measured(getattr(cost, attribute, None))
        return found

    return Column(name, kind, value)


def _environment(name: str, kind: Kind, attribute: str = "") -> Column:
    """Return a column for a value of the host environment; it is empty if unavailable."""

    def value(result: Result) -> Value:
        found: Value = _measured(getattr(result.measurement.environment, attribute or name))
        return found

    return Column(name, kind, value)


def _slot(name: str, kind: Kind, attribute: str) -> Column:
    """Return a column for a value of the CPUs that the slot may use; it is empty if unknown."""

    def value(result: Result) -> Value:
        slot = _measured(result.measurement.environment.slot)
        found: Value = _measured(getattr(slot, attribute, None))
        return found

    return Column(name, kind, value)


def _uuid(value: object) -> str | None:
    return None if value is None else str(value)


def _quality_unavailable(result: Result) -> str | None:
    quality = result.measurement.quality
    return quality.reason if isinstance(quality, Unavailable) else None


_TEXT, _WHOLE, _NUMBER, _MOMENT = Kind.TEXT, Kind.WHOLE, Kind.NUMBER, Kind.MOMENT

COLUMNS: tuple[Column, ...] = (
    Column("run_id", _TEXT, lambda r: _uuid(r.run_id)),
    Column("job_id", _TEXT, lambda r: str(r.job_id)),
    Column("node", _TEXT, lambda r: r.node),
    Column("scenario", _TEXT, lambda r: r.scenario.name),
    Column("source", _TEXT, lambda r: r.scenario.source.name),
    Column("encoder", _TEXT, lambda r: r.scenario.encoder),
    _encode("preset", _TEXT, lambda e: e.preset),
    _encode("rate_point", _TEXT, lambda e: e.rate.label),
    Column("repeat", _WHOLE, lambda r: r.repeat),
    Column("attempt", _WHOLE, lambda r: r.attempt),
    Column("wall_s", _NUMBER, lambda r: r.measurement.encode.wall_s),
    Column("cpu_s", _NUMBER, lambda r: r.measurement.encode.cpu_s),
    Column("user_s", _NUMBER, lambda r: r.measurement.encode.user_s),
    Column("system_s", _NUMBER, lambda r: r.measurement.encode.system_s),
    Column("max_rss_kib", _WHOLE, lambda r: r.measurement.encode.max_rss_kib),
    Column("fps", _NUMBER, lambda r: r.measurement.encode.fps),
    Column("speed", _NUMBER, lambda r: r.measurement.encode.speed),
    _output("video_bitrate_kbps", _NUMBER, lambda o: o.video_bitrate_kbps),
    _quality("vmaf_mean", _NUMBER),
    _quality("vmaf_harmonic_mean", _NUMBER),
    _quality("vmaf_min", _NUMBER),
    _quality("vmaf_p1", _NUMBER),
    _quality("vmaf_p5", _NUMBER),
    _quality("vmaf_model", _TEXT),
    Column(
        "ffmpeg", _TEXT, lambda r: None if r.scenario.ffmpeg is None else r.scenario.ffmpeg.name
    ),
    Column("ffmpeg_version", _TEXT, lambda r: r.measurement.provenance.ffmpeg.version),
    Column("ffmpeg_sha256", _TEXT, lambda r: r.measurement.provenance.ffmpeg.sha256),
    Column("verdict", _TEXT, _verdict),
    Column("verdict_reasons", _TEXT, _verdict_reasons),
    _energy("energy_gross_j", lambda e: e.gross_j),
    _energy("energy_net_j", lambda e: _measured(e.net_j)),
    _of_kind("density", "streams", _WHOLE),
    _of_kind("live", "lag_p95_s", _NUMBER),
    _of_kind("live", "end_to_end_p95_s", _NUMBER),
    _stream_cost("cost_per_stream_hour", _NUMBER, "per_stream_hour"),
    _stream_cost("currency", _TEXT, "currency"),
    # The following columns exist only in exports.
    Column("result_id", _TEXT, lambda r: str(r.id)),
    Column("stored_at", _MOMENT, lambda r: r.stored_at),
    Column("kind", _TEXT, lambda r: r.scenario.kind),
    Column("source_sha256", _TEXT, lambda r: r.measurement.provenance.source_sha256),
    _of_kind("source", "si_mean", _NUMBER),
    _of_kind("source", "si_max", _NUMBER),
    _of_kind("source", "ti_mean", _NUMBER),
    _of_kind("source", "ti_max", _NUMBER),
    _used_quality("crf", _NUMBER),
    _used_quality("cq", _WHOLE),
    _encode("bitrate_kbps", _WHOLE, lambda e: e.rate.bitrate_kbps),
    _encode("target_vmaf", _NUMBER, lambda e: e.rate.vmaf),
    _search("target_tolerance", _NUMBER, lambda s: s.vmaf_tolerance),
    _search("target_probes", _WHOLE, lambda s: len(s.probes)),
    _search("target_search_s", _NUMBER, lambda s: s.duration_s),
    _search("target_is_cached", _WHOLE, lambda s: int(s.is_cached)),
    _encode("pixel_format", _TEXT, lambda e: e.pixel_format),
    _encode("threads", _WHOLE, lambda e: e.threads),
    _encode("gop_frames", _WHOLE, lambda e: e.gop_frames),
    Column("frames", _WHOLE, lambda r: r.measurement.encode.frames),
    _cost("first_frame_s", _NUMBER),
    _cost("voluntary_switches", _WHOLE),
    _cost("involuntary_switches", _WHOLE),
    _cost("minor_faults", _WHOLE),
    _cost("major_faults", _WHOLE),
    _cost("fps_p1", _NUMBER),
    _cost("fps_p5", _NUMBER),
    _output("output_codec", _TEXT, lambda o: o.codec),
    _output("output_width_px", _WHOLE, lambda o: o.width),
    _output("output_height_px", _WHOLE, lambda o: o.height),
    _output("output_pixel_format", _TEXT, lambda o: o.pixel_format),
    _output("output_frame_rate", _TEXT, lambda o: o.frame_rate),
    _output("output_frames", _WHOLE, lambda o: o.frames),
    _output("output_duration_s", _NUMBER, lambda o: o.duration_s),
    _output("output_file_bytes", _WHOLE, lambda o: o.file_bytes),
    _output("output_video_bytes", _WHOLE, lambda o: o.video_bytes),
    _output("output_sha256", _TEXT, lambda o: o.sha256),
    _output("output_profile", _TEXT, lambda o: _measured(o.profile)),
    _output("output_level", _WHOLE, lambda o: _measured(o.level)),
    _output("output_key_frames", _WHOLE, lambda o: _measured(o.key_frames)),
    _output("output_gop_max_frames", _WHOLE, lambda o: _measured(o.gop_max_frames)),
    _output("output_reorder_frames", _WHOLE, lambda o: _measured(o.reorder_frames)),
    _output("output_decoded_sha256", _TEXT, lambda o: _measured(o.decoded_sha256)),
    _output("peak_bitrate_kbps", _NUMBER, lambda o: _measured(o.peak_bitrate_kbps)),
    _output("bitrate_deviation_ratio", _NUMBER, lambda o: _measured(o.bitrate_deviation_ratio)),
    Column("vmaf_unavailable", _TEXT, _quality_unavailable),
    _quality("vmaf_pairs", _WHOLE, "pairs"),
    _quality("vmaf_neg_mean", _NUMBER),
    _quality("psnr_y_mean_db", _NUMBER),
    _quality("ssim_libvmaf_mean", _NUMBER),
    _quality("ssim_ffmpeg_mean", _NUMBER),
    _quality("xpsnr_y_db", _NUMBER),
    _of_kind("density", "power_w", _NUMBER),
    _of_kind("density", "gpu_power_w", _NUMBER),
    _of_kind("density", "watts_per_stream", _NUMBER),
    _stream_cost("energy_cost_per_stream_hour", _NUMBER, "energy_per_stream_hour"),
    _of_kind("live", "lag_p50_s", _NUMBER),
    _of_kind("live", "lag_p99_s", _NUMBER),
    _of_kind("live", "lag_max_s", _NUMBER),
    _of_kind("live", "end_to_end_p50_s", _NUMBER),
    _of_kind("live", "end_to_end_p99_s", _NUMBER),
    _of_kind("live", "end_to_end_max_s", _NUMBER),
    _of_kind("live", "below_real_time_s", _NUMBER),
    _of_kind("live", "stalls", _WHOLE),
    _of_kind("live", "reconnects", _WHOLE),
    _of_kind("live", "frames_lost", _WHOLE),
    _of_kind("live", "silence_max_s", _NUMBER),
    _of_kind("live", "silence_end_s", _NUMBER),
    _of_kind("live", "bitrate_mean_kbps", _NUMBER),
    _of_kind("live", "bitrate_max_kbps", _NUMBER),
    _of_kind("live", "bitrate_cv", _NUMBER),
    _of_kind("live", "server_bytes_in", _WHOLE),
    _of_kind("live", "server_bitrate_mean_kbps", _NUMBER),
    _of_kind("live", "server_dropped", _WHOLE),
    _of_kind("live", "server_publishers", _WHOLE),
    _of_kind("live", "startup_s", _NUMBER),
    _received("stall_s", _NUMBER),
    _received("frames_lost", _WHOLE),
    _received("frames_lost_at_start", _WHOLE),
    _received("file_bytes", _WHOLE),
    _energy("energy_idle_w", lambda e: _measured(e.idle_w)),
    _energy("energy_duration_s", lambda e: e.duration_s),
    Column("energy_unavailable", _TEXT, _energy_unavailable),
    _energy("gpu_energy_gross_j", lambda e: e.gross_j, "gpu_energy"),
    _energy("gpu_energy_net_j", lambda e: _measured(e.net_j), "gpu_energy"),
    _energy("gpu_energy_idle_w", lambda e: _measured(e.idle_w), "gpu_energy"),
    _environment("kernel", _TEXT),
    _environment("microcode", _TEXT),
    _environment("cpu_model", _TEXT),
    _environment("cpu_count", _WHOLE),
    _environment("cpu_affinity", _TEXT),
    _environment("cpu_governor", _TEXT),
    _environment("cpu_turbo", _TEXT, "turbo"),
    _environment("cpu_smt", _TEXT, "smt"),
    _environment("numa_nodes", _TEXT),
    _environment("host_tuning", _TEXT),
    _environment("node_use", _TEXT),
    _environment("source_cached_ratio", _NUMBER),
    _environment("measured_at", _MOMENT),
    _environment("cpu_frequency_mhz", _NUMBER),
    _environment("cpu_frequency_min_mhz", _NUMBER),
    _environment("temperature_start_celsius", _NUMBER),
    _environment("temperature_max_celsius", _NUMBER),
    _environment("throttle_events", _WHOLE),
    _environment("throttled_periods", _WHOLE),
    _environment("load_before", _NUMBER),
    _environment("cpu_busy_s", _NUMBER),
    _environment("steal_ratio", _NUMBER),
    _environment("cpu_pressure_ratio", _NUMBER),
    _environment("memory_pressure_ratio", _NUMBER),
    _environment("io_pressure_ratio", _NUMBER),
    _slot("slot_cpu_count", _WHOLE, "cpus"),
    _slot("slot_quota_cpus", _NUMBER, "quota_cpus"),
    _slot("slot_cpu_busy_s", _NUMBER, "busy_s"),
    _slot("slot_steal_ratio", _NUMBER, "steal_ratio"),
    _slot("slot_cpu_pressure_ratio", _NUMBER, "cpu_pressure_ratio"),
    _slot("slot_memory_pressure_ratio", _NUMBER, "memory_pressure_ratio"),
    _slot("slot_io_pressure_ratio", _NUMBER, "io_pressure_ratio"),
    _environment("memory_available_bytes", _WHOLE),
    Column(
        "quality_ffmpeg_version", _TEXT, lambda r: r.measurement.provenance.quality_ffmpeg.version
    ),
    Column(
        "quality_ffmpeg_sha256", _TEXT, lambda r: r.measurement.provenance.quality_ffmpeg.sha256
    ),
    Column("agent_version", _TEXT, lambda r: r.measurement.provenance.agent_version),
    Column("argv", _TEXT, lambda r: shlex.join(r.measurement.provenance.argv)),
)
"""The columns, in the order of the table."""
