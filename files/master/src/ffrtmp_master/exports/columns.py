"""The columns of the flat table of results, with their names, types and values.

The table has a column for each value of a result that is not part of a list. A test compares the
columns with the types of results.
"""

import shlex
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from ffrtmp_shared.unavailable import Unavailable
from msgspec import UNSET

from ffrtmp_master.exports.exported_result import ExportedResult

Value = str | int | float | bool | datetime | None


class Kind(StrEnum):
    """The type of a column; values of any type may be missing."""

    TEXT = "text"
    WHOLE = "whole number"
    NUMBER = "number"
    FLAG = "true or false"
    MOMENT = "moment"


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        name: The name, which includes the unit.
        kind: The type.
        of: A function that returns the value for a result.
        path: The path of the value in an `ExportedResult`; empty if the column is computed from
            several values.
    """

    name: str
    kind: Kind
    of: Callable[[ExportedResult], Value]
    path: str = ""


def _follow(parts: tuple[str, ...], exported: ExportedResult) -> Value:
    """Return the value at a path, or None if a part of it is missing or unavailable."""
    found: Any = exported
    for part in parts:
        found = getattr(found, part, None)
    if found is UNSET or isinstance(found, Unavailable):
        return None
    value: Value = str(found) if isinstance(found, UUID) else found
    return value


def _at(parent: str, name: str, kind: Kind, attribute: str = "") -> Column:
    """Return a column for an attribute of the object at a path.

    Args:
        parent: The path of the object in an `ExportedResult`.
        name: The name of the column.
        kind: The type of the column.
        attribute: The attribute, if its name is not that of the column.
    """
    path = f"{parent}.{attribute or name}"
    return Column(name, kind, partial(_follow, tuple(path.split("."))), path)


_result = partial(_at, "result")
_run = partial(_at, "run")
_scenario = partial(_at, "result.scenario")
_source = partial(_at, "result.scenario.source")
_encode = partial(_at, "result.scenario.encode")
_rate = partial(_at, "result.scenario.encode.rate")
_search = partial(_at, "result.measurement.rate_search")
_process = partial(_at, "result.measurement.encode")
_clip = partial(_at, "result.measurement.source")
_output = partial(_at, "result.measurement.output")
_quality = partial(_at, "result.measurement.quality")
_environment = partial(_at, "result.measurement.environment")
_slot = partial(_at, "result.measurement.environment.slot")
_provenance = partial(_at, "result.measurement.provenance")
_energy = partial(_at, "result.measurement.energy")
_gpu_energy = partial(_at, "result.measurement.gpu_energy")
_density = partial(_at, "result.measurement.density")
_stream_cost = partial(_at, "result.measurement.density.cost")
_live = partial(_at, "result.measurement.live")
_received = partial(_at, "result.measurement.received")
_cost = partial(_at, "cost")


def _rate_point(exported: ExportedResult) -> Value:
    settings = exported.result.scenario.encode
    return None if settings is None else settings.rate.label


def _used_quality(exported: ExportedResult, name: str) -> Value:
    """Return the constant quality of the suite, or the one that reached a requested VMAF.

    Args:
        exported: The result.
        name: The setting, which is crf or cq.
    """
    search, settings = exported.result.measurement.rate_search, exported.result.scenario.encode
    if search is not None and search.control == name:
        return int(search.setting) if name == "cq" else search.setting
    found: Value = None if settings is None else getattr(settings.rate, name)
    return found


def _probes(exported: ExportedResult) -> Value:
    search = exported.result.measurement.rate_search
    return None if search is None else len(search.probes)


def _options(exported: ExportedResult) -> Value:
    settings = exported.result.scenario.encode
    if settings is None or not settings.options:
        return None
    return " ".join(f"{name}={value}" for name, value in sorted(settings.options.items()))


def _verdict_reasons(exported: ExportedResult) -> Value:
    verdict = exported.result.measurement.verdict
    return None if verdict is None else " ".join(reason.code for reason in verdict.reasons)


def _cached_values(exported: ExportedResult) -> Value:
    return " ".join(exported.result.measurement.cached_values) or None


def _cache_faults(exported: ExportedResult) -> Value:
    return "; ".join(exported.result.measurement.cache_faults) or None


def _argv(exported: ExportedResult) -> Value:
    return shlex.join(exported.result.measurement.provenance.argv)


_TEXT, _WHOLE, _NUMBER, _MOMENT = Kind.TEXT, Kind.WHOLE, Kind.NUMBER, Kind.MOMENT
_FLAG = Kind.FLAG

COLUMNS: tuple[Column, ...] = (
    _result("run_id", _TEXT),
    _result("job_id", _TEXT),
    _result("node", _TEXT),
    _scenario("scenario", _TEXT, "name"),
    _source("source", _TEXT, "name"),
    _scenario("encoder", _TEXT),
    _encode("preset", _TEXT),
    Column("rate_point", _TEXT, _rate_point),
    _result("repeat", _WHOLE),
    _result("attempt", _WHOLE),
    _process("wall_s", _NUMBER),
    _process("cpu_s", _NUMBER),
    _process("user_s", _NUMBER),
    _process("system_s", _NUMBER),
    _process("max_rss_kib", _WHOLE),
    _process("fps", _NUMBER),
    _process("speed", _NUMBER),
    _output("video_bitrate_kbps", _NUMBER),
    _quality("vmaf_mean", _NUMBER),
    _quality("vmaf_harmonic_mean", _NUMBER),
    _quality("vmaf_min", _NUMBER),
    _quality("vmaf_p1", _NUMBER),
    _quality("vmaf_p5", _NUMBER),
    _quality("vmaf_model", _TEXT),
    _scenario("ffmpeg", _TEXT, "ffmpeg.name"),
    _provenance("ffmpeg_version", _TEXT, "ffmpeg.version"),
    _provenance("ffmpeg_sha256", _TEXT, "ffmpeg.sha256"),
    _at("result.measurement.verdict", "verdict", _TEXT, "state"),
    Column("verdict_reasons", _TEXT, _verdict_reasons),
    _energy("energy_gross_j", _NUMBER, "gross_j"),
    _energy("energy_net_j", _NUMBER, "net_j"),
    _density("streams", _WHOLE),
    _live("lag_p95_s", _NUMBER),
    _live("end_to_end_p95_s", _NUMBER),
    _stream_cost("cost_per_stream_hour", _NUMBER, "per_stream_hour"),
    _stream_cost("currency", _TEXT),
    # The run and the result.
    _run("suite_name", _TEXT),
    _run("run_key", _TEXT, "key"),
    _run("run_seed", _WHOLE, "seed"),
    _run("run_priority", _TEXT, "priority"),
    _run("run_created_at", _MOMENT, "created_at"),
    _run("run_created_by", _TEXT, "created_by"),
    _run("run_finished_at", _MOMENT, "finished_at"),
    _result("result_id", _TEXT, "id"),
    _result("stored_at", _MOMENT),
    # The scenario.
    _scenario("kind", _TEXT),
    _scenario("slowest_speed", _NUMBER),
    _scenario("warm_up_s", _NUMBER),
    _scenario("ffmpeg_url", _TEXT, "ffmpeg.url"),
    _provenance("source_sha256", _TEXT),
    _source("source_file_name", _TEXT, "file_name"),
    _source("source_url", _TEXT, "url"),
    _source("synthetic_content", _TEXT, "synthetic.content"),
    _source("synthetic_width_px", _WHOLE, "synthetic.width"),
    _source("synthetic_height_px", _WHOLE, "synthetic.height"),
    _source("synthetic_frame_rate", _TEXT, "synthetic.frame_rate"),
    _source("synthetic_duration_s", _NUMBER, "synthetic.duration_s"),
    Column("crf", _NUMBER, partial(_used_quality, name="crf")),
    Column("cq", _WHOLE, partial(_used_quality, name="cq")),
    _rate("bitrate_kbps", _WHOLE),
    _rate("passes", _WHOLE),
    _rate("max_kbps", _WHOLE),
    _rate("buffer_kbit", _WHOLE),
    _rate("target_vmaf", _NUMBER, "vmaf"),
    _search("target_tolerance", _NUMBER, "vmaf_tolerance"),
    Column("target_probes", _WHOLE, _probes),
    _search("target_search_s", _NUMBER, "duration_s"),
    _search("target_is_cached", _FLAG, "is_cached"),
    _encode("pixel_format", _TEXT),
    _encode("threads", _WHOLE),
    _encode("gop_frames", _WHOLE),
    _encode("width_px", _WHOLE, "width"),
    _encode("height_px", _WHOLE, "height"),
    _encode("frame_rate", _TEXT),
    Column("options", _TEXT, _options),
    _scenario("ladder_together", _FLAG, "ladder.together"),
    _scenario("decode_threads", _WHOLE, "decode.threads"),
    _scenario("density_window_s", _NUMBER, "density.window_s"),
    _scenario("density_verify_s", _NUMBER, "density.verify_s"),
    _scenario("density_max_lag_s", _NUMBER, "density.max_lag_s"),
    _scenario("density_max_streams", _WHOLE, "density.max_streams"),
    _scenario("live_requested_s", _NUMBER, "live.duration_s"),
    _scenario("live_measure_received", _FLAG, "live.measure_received"),
    _scenario("quality_neg", _FLAG, "quality.neg"),
    _scenario("quality_psnr", _FLAG, "quality.psnr"),
    _scenario("quality_ssim", _FLAG, "quality.ssim"),
    _scenario("quality_xpsnr", _FLAG, "quality.xpsnr"),
    # The clip.
    _clip("source_codec", _TEXT, "codec"),
    _clip("source_width_px", _WHOLE, "width"),
    _clip("source_height_px", _WHOLE, "height"),
    _clip("source_pixel_format", _TEXT, "pixel_format"),
    _clip("source_frame_rate", _TEXT, "frame_rate"),
    _clip("source_frames", _WHOLE, "frames"),
    _clip("source_duration_s", _NUMBER, "duration_s"),
    _clip("source_characterised_s", _NUMBER, "characterised_s"),
    _clip("si_mean", _NUMBER),
    _clip("si_max", _NUMBER),
    _clip("ti_mean", _NUMBER),
    _clip("ti_max", _NUMBER),
    # The process.
    _process("frames", _WHOLE),
    _process("first_frame_s", _NUMBER),
    _process("voluntary_switches", _WHOLE),
    _process("involuntary_switches", _WHOLE),
    _process("minor_faults", _WHOLE),
    _process("major_faults", _WHOLE),
    _process("fps_p1", _NUMBER),
    _process("fps_p5", _NUMBER),
    # The output.
    _output("output_codec", _TEXT, "codec"),
    _output("output_width_px", _WHOLE, "width"),
    _output("output_height_px", _WHOLE, "height"),
    _output("output_pixel_format", _TEXT, "pixel_format"),
    _output("output_frame_rate", _TEXT, "frame_rate"),
    _output("output_frames", _WHOLE, "frames"),
    _output("output_duration_s", _NUMBER, "duration_s"),
    _output("output_file_bytes", _WHOLE, "file_bytes"),
    _output("output_video_bytes", _WHOLE, "video_bytes"),
    _output("output_sha256", _TEXT, "sha256"),
    _output("output_profile", _TEXT, "profile"),
    _output("output_level", _WHOLE, "level"),
    _output("output_key_frames", _WHOLE, "key_frames"),
    _output("output_gop_max_frames", _WHOLE, "gop_max_frames"),
    _output("output_reorder_frames", _WHOLE, "reorder_frames"),
    _output("output_decoded_sha256", _TEXT, "decoded_sha256"),
    _output("peak_bitrate_kbps", _NUMBER),
    _output("bitrate_deviation_ratio", _NUMBER),
    # Quality.
    _quality("vmaf_unavailable", _TEXT, "reason"),
    _quality("vmaf_pairs", _WHOLE, "pairs"),
    _quality("vmaf_p10", _NUMBER),
    _quality("vmaf_std", _NUMBER),
    _quality("vmaf_neg_mean", _NUMBER),
    _quality("psnr_y_mean_db", _NUMBER),
    _quality("psnr_cb_mean_db", _NUMBER),
    _quality("psnr_cr_mean_db", _NUMBER),
    _quality("ssim_libvmaf_mean", _NUMBER),
    _quality("ssim_ffmpeg_mean", _NUMBER),
    _quality("xpsnr_y_db", _NUMBER),
    _quality("xpsnr_cb_db", _NUMBER),
    _quality("xpsnr_cr_db", _NUMBER),
    _quality("alignment_offset", _WHOLE),
    Column("cached_values", _TEXT, _cached_values),
    Column("cache_faults", _TEXT, _cache_faults),
    # Densities.
    _density("density_limit", _TEXT, "limit"),
    _density("power_w", _NUMBER),
    _density("gpu_power_w", _NUMBER),
    _density("watts_per_stream", _NUMBER),
    _stream_cost("energy_cost_per_stream_hour", _NUMBER, "energy_per_stream_hour"),
    _stream_cost("host_price_per_hour", _NUMBER, "host_per_hour"),
    _stream_cost("energy_price_per_kwh", _NUMBER, "energy_per_kwh"),
    # Live streams.
    _live("live_duration_s", _NUMBER, "duration_s"),
    _live("lag_p50_s", _NUMBER),
    _live("lag_p99_s", _NUMBER),
    _live("lag_max_s", _NUMBER),
    _live("end_to_end_p50_s", _NUMBER),
    _live("end_to_end_p99_s", _NUMBER),
    _live("end_to_end_max_s", _NUMBER),
    _live("below_real_time_s", _NUMBER),
    _live("stalls", _WHOLE),
    _live("reconnects", _WHOLE),
    _live("frames_lost", _WHOLE),
    _live("silence_max_s", _NUMBER),
    _live("silence_end_s", _NUMBER),
    _live("bitrate_mean_kbps", _NUMBER),
    _live("bitrate_max_kbps", _NUMBER),
    _live("bitrate_cv", _NUMBER),
    _live("helpers_cpu_s", _NUMBER),
    _live("server_bytes_in", _WHOLE),
    _live("server_bitrate_mean_kbps", _NUMBER),
    _live("server_dropped", _WHOLE),
    _live("server_publishers", _WHOLE),
    _live("startup_s", _NUMBER),
    _received("received_unavailable", _TEXT, "reason"),
    _received("received_chunk_s", _NUMBER, "chunk_s"),
    _received("received_buffer_s", _NUMBER, "buffer_s"),
    _received("received_frames", _WHOLE, "frames"),
    _received("received_pairs", _WHOLE, "pairs"),
    _received("received_stall_s", _NUMBER, "stall_s"),
    _received("received_frames_lost", _WHOLE, "frames_lost"),
    _received("received_frames_lost_at_start", _WHOLE, "frames_lost_at_start"),
    _received("received_file_bytes", _WHOLE, "file_bytes"),
    # Energy.
    _energy("energy_idle_w", _NUMBER, "idle_w"),
    _energy("energy_duration_s", _NUMBER, "duration_s"),
    _energy("energy_unavailable", _TEXT, "reason"),
    _gpu_energy("gpu_energy_gross_j", _NUMBER, "gross_j"),
    _gpu_energy("gpu_energy_net_j", _NUMBER, "net_j"),
    _gpu_energy("gpu_energy_idle_w", _NUMBER, "idle_w"),
    _gpu_energy("gpu_energy_duration_s", _NUMBER, "duration_s"),
    _gpu_energy("gpu_energy_unavailable", _TEXT, "reason"),
    # Cost and carbon by the price book.
    _cost("book_currency", _TEXT, "currency"),
    _cost("book_cost_per_video_minute", _NUMBER, "per_video_minute"),
    _cost("book_cost_per_stream_hour", _NUMBER, "per_stream_hour"),
    _cost("book_cost_per_ladder_hour", _NUMBER, "per_ladder_hour"),
    _cost("book_cost_unavailable", _TEXT, "unavailable"),
    _cost("carbon_g_per_video_minute", _NUMBER),
    _cost("carbon_unavailable", _TEXT),
    # The host.
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
    _slot("slot_duration_s", _NUMBER, "duration_s"),
    _slot("slot_cpu_busy_s", _NUMBER, "busy_s"),
    _slot("slot_steal_ratio", _NUMBER, "steal_ratio"),
    _slot("slot_cpu_pressure_ratio", _NUMBER, "cpu_pressure_ratio"),
    _slot("slot_memory_pressure_ratio", _NUMBER, "memory_pressure_ratio"),
    _slot("slot_io_pressure_ratio", _NUMBER, "io_pressure_ratio"),
    _environment("memory_available_bytes", _WHOLE),
    _provenance("quality_ffmpeg_version", _TEXT, "quality_ffmpeg.version"),
    _provenance("quality_ffmpeg_sha256", _TEXT, "quality_ffmpeg.sha256"),
    _provenance("agent_version", _TEXT),
    Column("argv", _TEXT, _argv),
)
"""The columns, in the order of the table."""
