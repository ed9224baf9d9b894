"""Tests that every variable of every role is checked before anything is changed.

Each variable is given its default, the text of it, nonsense, and the extremes of its range. The
functions are those that the action variable_check calls for the values of a host.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils
import msgspec
import pytest
from ffrtmp_master.exporters.health_settings import HealthExporterSettings
from ffrtmp_master.exporters.settings import ApiExporterSettings
from ffrtmp_master.settings import Settings
from ffrtmp_shared.exporter import ExporterSettings
from ffrtmp_worker.agent.settings import AgentSettings
from ffrtmp_worker.energy.reader import EnergyReaderSettings
from local_playbook import run_playbook
from msgspec import inspect

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from ansible.module_utils.ffrtmp import variable_values as values  # noqa: E402
from ansible.module_utils.ffrtmp.variable_problems import (  # noqa: E402
    conflicts,
    misspelled,
    value_problems,
)
from ansible.module_utils.ffrtmp.variable_rules import EXCLUSIVE, ORDERS, PAIRS, rule_of  # noqa: E402


def _plugin() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "variable_check", ROOT / "plugins/action/variable_check.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OPTIONS = dict(_plugin().variable_options())
PLAIN = {name: option for name, option in OPTIONS.items() if not option.get("choices")}
NUMBERS = [name for name, option in OPTIONS.items() if option["type"] in ("int", "float")]
TEXTS = [name for name, option in PLAIN.items() if option["type"] in ("str", "path")]
NONSENSE: dict[str, list[Any]] = {
    "bool": ["maybe", "", "2", "truee", [], {}, 1.5],
    "int": ["", "1.5", "many", "1e3", "0x10", "nan", "- 1", True, [], {}, "9" * 25],
    "float": ["", "many", "nan", "inf", "1,5", True, [], {}, "1e400"],
    "list": [{}, 7, "[", "[a", True, {"a": 1}],
    "dict": [[], 7, "{", "text", True, "a b"],
    "str": [[], {}, True, "a\nb", "a\0b", "a\x1bb", "a\u2028b"],
    "path": [[], {}, True, "/a\nb", "/a\0b"],
}


def problems(name: str, value: Any) -> list[str]:
    return list(value_problems(name, OPTIONS[name], value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield from (str(value), str(value).lower(), "yes" if value else "no")
    elif isinstance(value, list | dict):
        yield json.dumps(value)
    else:
        yield str(value)


def test_all_variables_are_found() -> None:
    assert {"worker_slots", "farm_api_port", "master_credentials", "pki_crl_days"} <= OPTIONS.keys()
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    assert {role for role in roles if any(n.startswith(f"{role}_") for n in OPTIONS)} == roles


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_the_default_is_accepted_also_as_a_text(name: str) -> None:
    default = OPTIONS[name].get("default")
    if default is None or "{{" in str(default) or "{%" in str(default):
        return
    for value in (default, *_texts(default)):
        assert problems(name, value) == []


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_nonsense_is_refused_with_the_name_and_the_accepted_values(name: str) -> None:
    for value in NONSENSE.get(OPTIONS[name]["type"], []):
        if value == "" and problems(name, "") == []:
            continue
        found = problems(name, value)
        assert found, f"{name} accepts {value!r}"
        assert found[0].startswith(f"{name} ")
        assert "must be " in found[0]
        assert found[0].isprintable()


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - set(PLAIN)))
def test_other_words_than_the_choices_are_refused(name: str) -> None:
    choices = OPTIONS[name]["choices"]
    assert all(problems(name, choice) == [] for choice in choices)
    assert problems(name, "nonsense")
    assert problems(name, choices[0].upper())


@pytest.mark.parametrize("name", NUMBERS)
def test_the_extremes_of_a_number_are_accepted_and_those_beyond_are_not(name: str) -> None:
    rule = rule_of(name, OPTIONS[name]["type"])
    assert isinstance(rule, values.Numbers)
    step = 1 if rule.is_whole else max(abs(rule.highest), 1) * 1e-9
    highest = int(rule.highest) if rule.is_whole else rule.highest
    lowest = int(rule.lowest) if rule.is_whole else rule.lowest
    assert problems(name, highest) == problems(name, str(highest)) == []
    assert problems(name, lowest) == [] or rule.is_open
    assert (problems(name, str(lowest)) != []) == rule.is_open
    for value in (highest + step, lowest - step):
        assert problems(name, value)
        assert problems(name, str(value))


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_can_add_a_line_to_a_file(name: str) -> None:
    rule = rule_of(name, OPTIONS[name]["type"])
    assert rule is not None
    for text in ("a\nb", "a\rb", "\n", "a\x00", "a\u2029"):
        assert not rule.accepts(text)


FIELDS = [
    ("master_", Settings),
    ("exporters_", ApiExporterSettings),
    ("exporters_health_", HealthExporterSettings),
    ("exporters_", ExporterSettings),
    ("worker_", AgentSettings),
    ("energy_reader_", EnergyReaderSettings),
]


def _number_types(kind: inspect.Type) -> Iterator[inspect.IntType | inspect.FloatType]:
    if isinstance(kind, inspect.UnionType):
        for item in kind.types:
            yield from _number_types(item)
    elif isinstance(kind, inspect.IntType | inspect.FloatType):
        yield kind


def _limited() -> Iterator[tuple[str, type[msgspec.Struct], str]]:
    for prefix, settings in FIELDS:
        for field in msgspec.structs.fields(settings):
            if prefix + field.name in NUMBERS:
                yield prefix + field.name, settings, field.name


def test_settings_files_have_the_variables() -> None:
    assert len(list(_limited())) > 40


@pytest.mark.parametrize(("name", "settings", "field"), list(_limited()))
def test_a_program_accepts_every_number_that_its_variable_accepts(
    name: str, settings: type[msgspec.Struct], field: str
) -> None:
    rule = rule_of(name, OPTIONS[name]["type"])
    assert isinstance(rule, values.Numbers)
    kind = next(f.type for f in msgspec.structs.fields(settings) if f.name == field)
    step = 1 if rule.is_whole else 1e-6
    for value in (rule.highest, rule.lowest + (step if rule.is_open else 0)):
        msgspec.convert(int(value) if rule.is_whole else float(value), kind)


def _is_applied(line: str, folder: Path) -> bool:
    unit = folder / "x.service"
    unit.write_text(f"[Service]\nExecStart=/bin/true\n{line}\n", encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "x.service:3" not in done.stderr


LIMITS = [
    ("worker_memory_max", "MemoryMax", ["8G", "512M", "1.5G", "50%", "infinity", "2147483648"]),
    ("worker_cpu_quota", "CPUQuota", ["400%", "50%", "12.5%"]),
    ("worker_io_weight", "IOWeight", ["1", "50", "10000"]),
    ("worker_tasks_max", "TasksMax", ["1", "4096", "80%", "infinity"]),
    ("worker_allowed_cpus", "AllowedCPUs", ["0", "0-7,16-23", "0 2 4"]),
    ("worker_allowed_memory_nodes", "AllowedMemoryNodes", ["0", "0-1"]),
]
IGNORED = ["8GB", "8Gi", "150", "50000", "-1", "x", "101%", "0", "0%", "7-", "1e3"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "directive", "accepted"), LIMITS)
def test_systemd_applies_what_is_accepted(
    tmp_path: Path, name: str, directive: str, accepted: list[str]
) -> None:
    for value in accepted:
        assert problems(name, value) == []
        assert _is_applied(f"{directive}={value}", tmp_path), value
    for value in IGNORED:
        if not _is_applied(f"{directive}={value}", tmp_path):
            assert problems(name, value), f"{name} accepts {value}, which systemd ignores"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("time", "is_valid"),
    [
        ("*-*-* 02:15:00", True),
        ("daily", True),
        ("Mon..Fri *-*-* 02:15", True),
        ("Sat,Sun 03:00:00", True),
        ("*-*-01/7 04:00:00 UTC", True),
        ("02:15", True),
        ("every day", False),
        ("02", False),
        ("0 2 * * *", False),
        ("*-*-* 02:15:00; reboot", False),
    ],
)
def test_times_are_those_of_systemd(time: str, is_valid: bool) -> None:
    command = ["systemd-analyze", "calendar", time]
    assert (subprocess.run(command, capture_output=True, check=False).returncode == 0) == is_valid
    assert (problems("master_backup_schedule", time) == []) == is_valid


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("worker_data_dir", "/srv"),
        ("worker_data_dir", "/var/tmp/"),
        ("worker_data_dir", "/scratch"),
        ("worker_data_dir", "/data"),
        ("worker_data_dir", "data/worker"),
        ("worker_data_dir", "/a b/worker"),
        ("master_data_dir", "/var/lib/../x"),
        ("worker_source_networks", ["10.0.0.0/33"]),
        ("rtmp_server_listen_address", "0.0.0"),
        ("farm_address", "192.0.2.300"),
        ("farm_address", "fd00::10::1"),
        ("farm_exporter_ports", {"cpu": 70000}),
        ("farm_exporter_ports", {"cpu": "high"}),
        ("worker_rtmp_url", "rtmp://host:99999/live"),
        ("worker_rtmp_url", "http://host/live"),
        ("worker_master_url", "https://user:secret@host:8080"),
        ("master_database_url", "mysql://host/db"),
        ("postgresql_database", "My-Database"),
        ("postgresql_extra_settings", {"work_mem": "4MB\nssl = off"}),
        ("victoria_metrics_retention", "forever"),
        ("victoria_metrics_retention", "5h"),
        ("alertmanager_repeat_interval", "4 hours"),
        ("alertmanager_repeat_interval", "0s"),
        ("worker_systemd_hardening_extra", ["OOMScoreAdjust"]),
        ("worker_slot_cpus", "psychical"),
        ("worker_slot_cpus", ["0-x"]),
        ("worker_host_price_per_hour", "0,35"),
        ("worker_vmaf_threads", "none"),
        ("master_log_level", "verbose"),
        ("worker_user", "Root User"),
        ("master_trusted_proxies", ["10.0.0.0/8/8"]),
    ],
)
def test_a_value_that_another_program_cannot_parse_is_refused(name: str, value: Any) -> None:
    assert problems(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("worker_data_dir", "/scratch/ffrtmp"),
        ("farm_address", "fd00::10"),
        ("farm_address", "worker-1.example.org"),
        ("worker_slot_cpus", "physical"),
        ("worker_slot_cpus", '["0-3", "4-7"]'),
        ("worker_slots", "4"),
        ("worker_vmaf_threads", "8"),
        ("worker_host_price_per_hour", 0.35),
        ("worker_source_networks", "10.20.0.0/16,fd00::/8"),
        ("farm_exporter_ports", '{"cpu": 9510}'),
        ("postgresql_extra_settings", {"work_mem": "64MB", "jit": False}),
        ("victoria_metrics_retention", 3),
        ("master_repeats_min", None),
        ("worker_io_weight", 50),
        ("alertmanager_webhook_url", "https://hooks.example.org/T0/B0?x=1"),
    ],
)
def test_values_of_real_inventories_are_accepted(name: str, value: Any) -> None:
    assert problems(name, value) == []


def test_no_message_shows_a_secret() -> None:
    for name in ("alertmanager_webhook_url", "grafana_admin_password", "grafana_secret_key"):
        found = problems(name, "SECRET\nvalue")
        assert found
        assert "SECRET" not in str(found)


@pytest.mark.parametrize("name", [name for name in TEXTS if "_url" in name])
@pytest.mark.parametrize("scheme", ["https", "postgresql", "rtmp", "ftp"])
def test_no_message_shows_the_password_in_a_url(name: str, scheme: str) -> None:
    for value in (f"{scheme}://user:m4rk3d@host/x", f"{scheme}://:m4rk3d@ho st/x"):
        assert not any("m4rk3d" in problem for problem in problems(name, value))


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.lower)
def test_values_that_contradict_each_other_are_refused(order: Any) -> None:
    default = OPTIONS[order.upper]["default"]
    found = list(conflicts(OPTIONS, {order.lower: default * 2}))
    assert len(found) == 1
    assert order.lower in found[0]
    assert order.upper in found[0]
    assert list(conflicts(OPTIONS, {order.upper: default})) == []


def test_pairs_and_alternatives_are_checked() -> None:
    for first, second in PAIRS:
        assert second in str(list(conflicts(OPTIONS, {first: "/a"})))
        assert list(conflicts(OPTIONS, {first: "/a", second: "/b"})) == []
    for first, second in EXCLUSIVE:
        assert first in str(list(conflicts(OPTIONS, {first: "0", second: "1"})))


def test_a_typing_error_in_a_name_is_reported_but_not_another_name() -> None:
    names = ["worker_memmory_max", "worker_rack", "worker_slots", "my_memory_max"]
    found = list(misspelled(names, OPTIONS.keys(), ["worker_"]))
    assert found == [
        "There is no variable worker_memmory_max, which is set. Is worker_memory_max meant?"
    ]


def _inventory(folder: Path) -> Path:
    groups = ("master", "worker", "monitoring", "postgresql", "load_balancer", "rtmp_server")
    for group in ("all", *groups):
        link = folder / f"group_vars/{group}/00_common.yml"
        link.parent.mkdir(parents=True)
        link.symlink_to(ROOT / f"group_vars/{group}.yml")
    hosts = {group: {"hosts": {"h1": {}} if group != "load_balancer" else {}} for group in groups}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"vars": local, "children": hosts}}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("playbook", ["hosts", "worker", "rtmp-server", "node-exporter"])
def test_a_playbook_refuses_all_wrong_values_before_it_changes_anything(
    root: Path, tmp_path: Path, playbook: str
) -> None:
    extra = {
        "worker_memory_max": "8GB",
        "farm_mutual_tls": "maybe",
        "farm_rtmp_port": "99999",
        "pki_renew_days": "0",
        "master_log_level": "{{ undefined_level }}",
    }
    arguments = [item for name in extra for item in ("-e", f"{name}={extra[name]}")]
    inventory = str(_inventory(tmp_path))
    done = run_playbook(
        root, root, "--check", "-i", inventory, *arguments, f"playbooks/{playbook}.yml"
    )
    output = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "changed=0" in output
    assert "changed=1" not in output
    for name in extra:
        assert name in output
    assert "systemd ignores 8GB" in output
    # It follows from farm_rtmp_port.
    assert "worker_rtmp_url is" not in output
