"""The rule for each Ansible variable of the project: the values that it can have.

The rule follows from the name of the variable, whose end states what the value is, for example
`_port` or `_memory_max`. A variable with other limits has a rule of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .value_rules import CURRENCY, END
from .variable_values import (
    ACCOUNT,
    ADDRESS,
    CALENDAR,
    CLIENT,
    CONTROL_PATH,
    CPU_LIST,
    DATABASE_NAME,
    DIRECTIVE,
    DURATION,
    FILLED_LINE,
    FLAG_NAME,
    HOST,
    HOST_PATH,
    HTTPS_URL,
    LABEL_NAME,
    LABEL_VALUE,
    LINE,
    LISTEN_ADDRESS,
    LOG_LEVEL,
    MEMORY,
    NODE,
    ONE_LINE,
    OWN_DIR,
    PACKAGE,
    PORT,
    PRICE,
    SHA256,
    TARGET,
    UNIT,
    URL_PATH,
    VERSION,
    WEB_URL,
    WORD,
    WRITE_URL,
    Lists,
    Mappings,
    Numbers,
    Rule,
    Texts,
    above,
    has_valid_port,
    is_network,
    whole,
)

_YEAR_S = 31_536_000
_BYTES_MAX = 2**60
_COUNT_MAX = 10**9
_SHARE = Numbers(0, 1)

_OWN: dict[str, Rule] = {
    "alertmanager_default_receiver": NODE,
    "alertmanager_group_by": Lists(Texts(r"[a-zA-Z_][a-zA-Z0-9_]*|\.\.\.", "a label, or ...")),
    "alertmanager_listen_address": LISTEN_ADDRESS,
    "alertmanager_webhook_url": WEB_URL,
    "common_python_min": Texts("3[.][0-9]{1,2}", "a version such as 3.11"),
    "common_free_bytes_min": whole(0, _BYTES_MAX),
    "common_masked_units": Lists(UNIT),
    "common_supported_architectures": Lists(WORD),
    "credentials_names": Lists(NODE),
    "energy_reader_interval_s": above(0, 3600),
    "energy_reader_max_power_w": whole(1, 1_000_000),
    "exporters_absent": Lists(WORD),
    "exporters_connections_max": whole(1, 1024),
    "exporters_connections_per_address_max": whole(1, 1024),
    "exporters_health_components_max": whole(1, 20_000),
    "exporters_health_disk_history_min_s": above(0, 30 * 86_400),
    "exporters_health_disk_window_s": above(0, 30 * 86_400),
    "exporters_health_probe_interval_s": Numbers(1, 86_400),
    "exporters_health_probe_timeout_s": above(0, 600),
    "exporters_node_exporter_versions": Mappings(NODE, VERSION),
    "exporters_results_runs_max": whole(1, 1000),
    "exporters_results_series_max": whole(1, 100_000),
    # A farm whose workers have not joined yet has no agents.
    "farm_agents": whole(0, _COUNT_MAX),
    "farm_api_host": FILLED_LINE,
    "farm_exporter_ports": Mappings(WORD, PORT),
    "farm_name": NODE,
    "ffmpeg_wheel_name": WORD,
    "ffmpeg_wheel_sha256": Mappings(WORD, SHA256),
    "grafana_datasource_query_parameters": Texts(
        "[A-Za-z0-9_.~%&=+-]{0,512}", "parameters of a URL such as extra_label=farm=prod"
    ),
    "grafana_package": CONTROL_PATH,
    "grafana_repository_key_fingerprint": Texts(
        "[0-9A-F]{40}", "40 hexadecimal digits in capital letters"
    ),
    "grafana_repository_suite": WORD,
    "host_tuning_governor": Texts("[a-z_]{1,15}", "the name of a governor, such as performance"),
    "host_tuning_timers": Lists(UNIT),
    "load_balancer_check_fall": whole(1, 1000),
    "load_balancer_check_rise": whole(1, 1000),
    "load_balancer_connections_max": whole(1, 1_000_000),
    "master_artifacts_keep_days": above(0, 36_500),
    "master_database_url": Texts(
        rf"sqlite:////?{ONE_LINE}{{1,1000}}|postgresql://{ONE_LINE}{{1,1000}}",
        "sqlite:////DIRECTORY/farm.db or postgresql://USER@HOST:5432/DATABASE, without a password",
        lambda text: re.search(r"://[^/@]*:[^/]*@|[?&][a-z]*password=|\s", text) is None,
    ),
    "master_failed_logins_per_minute_max": whole(1, _COUNT_MAX),
    "master_jobs_keep_days": above(0, 36_500),
    "master_max_attempt_files": whole(1, 256),
    "master_max_attempts": whole(1, 100),
    "master_repeats_min": whole(1, 1000),
    "master_requests_per_s_max": Numbers(1, _COUNT_MAX),
    "master_reserved_bytes": whole(0, _BYTES_MAX),
    "master_sources_keep_days": Numbers(0.01, 36_500),
    "monitoring_service_command": Lists(FILLED_LINE),
    "monitoring_service_description": FILLED_LINE,
    "monitoring_service_name": UNIT,
    "monitoring_service_ready_url": WEB_URL,
    "monitoring_service_state_directory": HOST_PATH,
    "node_exporter_collectors": Lists(WORD),
    "node_exporter_extra_collectors": Lists(WORD),
    "node_exporter_ignored_file_systems": Texts(
        r"[A-Za-z0-9_|^$()?.*+-]{1,1000}", "a regular expression of names of file systems"
    ),
    "node_exporter_requests_max": whole(1, 1000),
    "pki_ca_common_name": Texts(f"{ONE_LINE}{{1,64}}", "a text of 1 to 64 characters in one line"),
    "pki_ca_days": whole(1, 36_500),
    "pki_crl_days": whole(1, 3650),
    "pki_host_days": whole(1, 3650),
    "pki_renew_days": whole(1, 3650),
    "pki_revoked_hosts_max": whole(0, _COUNT_MAX),
    "postgresql_connections_max": whole(10, 10_000),
    "postgresql_extra_settings": Mappings(
        Texts("[a-z_][a-z0-9_.]{0,62}", "a setting of PostgreSQL such as work_mem"), LINE
    ),
    "postgresql_memory_mib": whole(64, 2**32),
    "postgresql_version": Texts("[1-9][0-9]", "a major version of PostgreSQL such as 17"),
    "farm_postgresql_version": Texts("[1-9][0-9]", "a major version of PostgreSQL such as 17"),
    "release_keep": whole(1, 1000),
    "release_wheel_platforms": Lists(WORD),
    "rtmp_server_application": Texts("[A-Za-z0-9_-]{1,64}", "letters, digits, _ and -"),
    "rtmp_server_hls_fragment_s": whole(1, 60),
    "rtmp_server_hls_playlist_s": whole(1, 86_400),
    "rtmp_server_http_connections_max": whole(1, 100_000),
    "rtmp_server_connections_max": whole(1, 100_000),
    "rtmp_server_message_max_bytes": whole(1024, 2**31 - 1),
    "series_importer_pause_s": above(0, 86_400),
    "victoria_metrics_agent_extra_flags": Mappings(FLAG_NAME, LINE),
    "victoria_metrics_extra_flags": Mappings(FLAG_NAME, LINE),
    "victoria_metrics_listen_address": LISTEN_ADDRESS,
    "victoria_metrics_node_targets": Mappings(FILLED_LINE, TARGET),
    "victoria_metrics_retention": Texts(
        "[1-9][0-9]{0,4}([.][0-9]{1,3})?[dwy]?|(2[4-9]|[3-9][0-9]|[1-9][0-9]{2,5})h",
        "a number of months such as 3, or a duration of at least a day such as 30d, 2w or 1y",
    ),
    "victoria_metrics_service_targets": Mappings(WORD, TARGET),
    "vmalert_cpu_throttles_max": whole(0, _COUNT_MAX),
    "vmalert_dashboard_base_url": WEB_URL,
    "vmalert_disk_full_hours": whole(1, 8760),
    "vmalert_expected_jobs": Lists(WORD),
    "vmalert_listen_address": LISTEN_ADDRESS,
    "vmalert_external_labels": Mappings(LABEL_NAME, LABEL_VALUE),
    "victoria_metrics_write_labels": Mappings(LABEL_NAME, LABEL_VALUE),
    "vmalert_gpu_temperature_max_celsius": whole(0, 1000),
    "vmalert_temperature_max_celsius": whole(0, 1000),
    "worker_cpu_quota": Texts(
        "(?!0+([.]0+)?%)[0-9]{1,7}([.][0-9]{1,2})?%",
        "percent of one CPU with the sign %, such as 400%",
    ),
    "worker_currency": Texts(CURRENCY.removeprefix("^").removesuffix(END), "a code such as EUR"),
    "worker_energy_idle_s": Numbers(0, 3600),
    "worker_energy_price_per_kwh": PRICE,
    "worker_exporters": Mappings(WORD, PORT),
    "worker_host_price_per_hour": PRICE,
    "worker_io_weight": Texts(
        "[1-9][0-9]{0,3}|10000", "a whole number from 1 to 10000 (systemd ignores others)"
    ),
    "worker_labels": Mappings(
        Texts(f"{ONE_LINE}{{1,64}}", "a text of 1 to 64 characters"),
        Texts(f"{ONE_LINE}{{0,128}}", "a text of at most 128 characters"),
    ),
    "worker_measurement_cache_max_bytes": whole(0, 2**63 - 1),
    "worker_min_free_bytes": whole(0, 2**63 - 1),
    "worker_cache_max_bytes": whole(0, 2**63 - 1),
    "worker_received_max_bytes": whole(1, 10**13),
    "worker_rtmp_stat_url": Texts(
        rf"https?://{HOST}(:[0-9]{{1,5}})?/[A-Za-z0-9_./-]{{0,256}}",
        "a URL such as https://HOST:8936/stat",
        has_valid_port,
    ),
    "worker_rtmp_url": Texts(
        rf"rtmp://{HOST}(:[0-9]{{1,5}})?/[A-Za-z0-9_-]{{1,64}}",
        "a URL such as rtmp://HOST:1935/live",
        has_valid_port,
    ),
    "worker_slot_cpus": Lists(CPU_LIST),
    "worker_slot_memory_nodes": Lists(CPU_LIST),
    "worker_slots": whole(1, 1024),
    "worker_source_deadline_s": above(0, 7 * 86_400),
    "worker_source_max_packets": whole(1, _COUNT_MAX),
    "worker_source_min_bytes_per_s": whole(0, 2**63 - 1),
    "worker_source_networks": Lists(
        Texts(
            "[0-9a-fA-F.:]+/[0-9]{1,3}",
            "a network in CIDR form, such as 10.20.0.0/16",
            is_network,
        )
    ),
    "worker_vmaf_threads": whole(1, 4096),
}
_OWN["join_archive_rtmp_url"] = _OWN["worker_rtmp_url"]
_OWN["join_archive_rtmp_stat_url"] = _OWN["worker_rtmp_stat_url"]
for _name in ("grafana_runbook_base_url", "vmalert_runbook_base_url"):
    _OWN[_name] = Texts(
        r"[!-\[\]-~]{1,2000}",
        "a URL without spaces and quotes",
        lambda text: re.search("[\"'<>`]", text) is None,
    )
for _name in ("victoria_metrics_write_urls", "farm_metrics_write_urls"):
    _OWN[_name] = Lists(WRITE_URL)
for _name in (
    "farm_metrics_query_url",
    "vmalert_datasource_url",
    "vmalert_remote_write_url",
    "grafana_datasource_url",
    "series_importer_import_url",
    "vmalert_notifier_url",
):
    _OWN[_name] = WEB_URL

# The last part of names, in the order in which it is compared.
_SUFFIXES: tuple[tuple[str, Rule], ...] = (
    (r"_port", PORT),
    (r"_memory_max", MEMORY),
    (
        r"_tasks_max",
        Texts(
            r"infinity|[1-9][0-9]{0,8}|[1-9][0-9]?%|100%",
            "a number of processes such as 4096, a percentage, or infinity",
        ),
    ),
    (r"_allowed_(cpus|memory_nodes)", CPU_LIST),
    (r"_schedule", CALENDAR),
    (r"_log_level", LOG_LEVEL),
    (r"_hardening_extra", Lists(DIRECTIVE)),
    (r"_(tls_|key_|progress_|energy_|docker_|test_)?(user|group)", ACCOUNT),
    (r"(?<=postgresql)_user|_database", DATABASE_NAME),
    (r"_groups", Lists(ACCOUNT)),
    (r"_packages", Lists(PACKAGE)),
    (r"_sha256", SHA256),
    (r"_version", VERSION),
    (r"_(listen_|local_|metrics_)*address", ADDRESS),
    (r"_(listen_|host_)addresses|_load_balancers", Lists(ADDRESS)),
    (r"_client_addresses|_proxies|_clients", Lists(CLIENT)),
    (r"_(master|results|qoe|cost|health|haproxy|nginx|postgresql)_targets", Lists(TARGET)),
    (r"_(group_wait|interval)", DURATION),
    (r"_watchdog_url", WEB_URL),
    (r"_master_url|(?<=^master)_url", HTTPS_URL),
    (
        r"_repository(_key)?_url",
        # APT accepts files with and without an empty host.
        Texts(
            rf"(https?://{HOST}|file:(//)?){URL_PATH}", "a URL without user, password and spaces"
        ),
    ),
    (r"_(agents|(?<=pki_)hosts|peers|names)", Lists(FILLED_LINE)),
    (r"_node_name|(?<=^join_archive)_node", NODE),
    (r"_retry_backoff_s", above(0, _YEAR_S)),
    (r"_clock_offset_max_s|_commit_duration_max_s", above(0, _YEAR_S)),
    (r"_ratio(_max|_min)?", _SHARE),
    (r"_percent", Numbers(0, 100)),
    (r"_backup_keep", whole(1, 36_500)),
    (r"_minutes", whole(1, 525_600)),
    (r"_days(_min|_max)?", whole(0, 36_500)),
    (r"_bytes(_min|_max)?|_bytes_per_s", whole(1, _BYTES_MAX)),
    (r"_boot_timeout|_timeout", whole(1, 86_400)),
    (r"_s", above(0, _YEAR_S)),
)

# Paths on the control node. They need not be absolute.
_CONTROL_NODE = re.compile(
    r".*_source|(release|ffmpeg)_(source|cache)_dir|ffmpeg_(wheel|archive)_file|.*_python|"
    r"pki_(ca_certificate_file|ca_key_file|crl_file|dir)|credentials_dir|join_archive_.*(_file|_dir)|"
    r"join_archive_file|master_tokens_dir|farm_(root|secrets|cache|results)(_dir)?|stack_dir|"
    r"test_machines_.*(_dir|_file|_keyring)"
)
_DIRS = re.compile(r".*_(data|backup|install)_dir")
_HOST_FILES = re.compile(
    r".*_(file|dir|socket|path|tree|powercap)|worker_(quality_)?ff(mpeg|probe)"
)

SECRET = re.compile(
    r".*_(password|secret_key|token|receivers|webhook_url|watchdog_url|write_urls|database_url)"
)
"""Names of variables whose values no message shows."""


def rule_of(name: str, kind: str = "str") -> Rule | None:
    """Return the rule for the value of a variable, or None if its type is all that matters.

    Args:
        name: The name of the variable.
        kind: The type of the variable in its argument spec.
    """
    if name in _OWN:
        return _OWN[name]
    for pattern, rule in _SUFFIXES:
        if re.fullmatch(f".*(?:{pattern})", name) and _agrees(rule, kind):
            return _of_kind(rule, kind)
    if kind in ("str", "path"):
        return _text_rule(name)
    if kind in ("int", "float"):
        # A threshold of an alert can be zero, but the maximum of something cannot.
        lowest = 0 if name.startswith("vmalert_") else 1
        return Numbers(lowest, _COUNT_MAX, is_whole=kind == "int")
    return None


def _agrees(rule: Rule, kind: str) -> bool:
    if isinstance(rule, Numbers):
        return kind in ("int", "float")
    return rule.kind == kind or (rule.kind == "str" and kind == "path")


def _of_kind(rule: Rule, kind: str) -> Rule:
    """Return the range of a variable of this type for its numbers of another type."""
    if isinstance(rule, Numbers) and kind == "int" and not rule.is_whole:
        return Numbers(int(rule.lowest) + rule.is_open, rule.highest, is_whole=True)
    if isinstance(rule, Numbers) and kind == "float" and rule.is_whole:
        return above(0, rule.highest)
    return rule


def _text_rule(name: str) -> Texts:
    if _CONTROL_NODE.fullmatch(name):
        return CONTROL_PATH
    if _DIRS.fullmatch(name):
        return OWN_DIR
    if _HOST_FILES.fullmatch(name):
        return HOST_PATH
    return LINE


@dataclass(frozen=True)
class Order:
    """Two variables of which one limits the other.

    Attributes:
        lower: The variable with the smaller value.
        upper: The variable with the larger value.
        factor: How many times the smaller value must fit into the larger one.
        is_strict: Whether the values must differ.
        reason: The consequence of a larger value.
    """

    lower: str
    upper: str
    reason: str
    factor: int = 1
    is_strict: bool = False


ORDERS: tuple[Order, ...] = (
    Order(
        "exporters_health_disk_history_min_s",
        "exporters_health_disk_window_s",
        "no forecast would ever be made",
    ),
    Order(
        "exporters_health_probe_timeout_s",
        "exporters_health_probe_interval_s",
        "probes would overlap",
    ),
    Order("master_heartbeat_s", "master_lease_s", "one lost heartbeat would end a lease", factor=2),
    Order(
        "master_max_artifact_bytes",
        "master_max_attempt_bytes",
        "no attempt could store such an artifact",
    ),
    Order("pki_host_days", "pki_ca_days", "the CA would expire before its certificates"),
    Order(
        "pki_renew_days",
        "pki_host_days",
        "every deployment would replace all certificates",
        is_strict=True,
    ),
    Order(
        "rtmp_server_hls_fragment_s",
        "rtmp_server_hls_playlist_s",
        "a playlist would contain no fragment",
        is_strict=True,
    ),
    Order(
        "vmalert_certificate_critical_days",
        "vmalert_certificate_warning_days",
        "the warning would be sent last",
    ),
    Order(
        "vmalert_disk_free_critical_ratio",
        "vmalert_disk_free_warning_ratio",
        "the warning would be sent last",
    ),
    Order(
        "worker_measurement_cache_max_bytes",
        "worker_cache_max_bytes",
        "the measurements are part of the cache",
    ),
)
"""The values that depend on another value."""

PAIRS: tuple[tuple[str, str], ...] = (
    ("farm_client_certificate_file", "farm_client_key_file"),
    ("ffmpeg_archive_file", "ffmpeg_archive_sha256"),
    ("grafana_package", "grafana_package_sha256"),
    ("pki_ca_certificate_file", "pki_ca_key_file"),
    ("worker_certificate_file", "worker_key_file"),
)
"""Variables that must both be set, or neither."""

EXCLUSIVE: tuple[tuple[str, str], ...] = (
    ("worker_slot_cpus", "worker_allowed_cpus"),
    ("worker_slot_memory_nodes", "worker_allowed_memory_nodes"),
)
"""Variables that must not both be set."""
