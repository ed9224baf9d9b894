"""Tests that variables set as text, as with `-e NAME=VALUE`, mean the same as typed values.

Each variable of each role is set to its typed value and to texts of this value. All conditions,
templates and arguments of the role are rendered with Ansible's templating and compared.
"""

import base64
import functools
import json
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from role_templates import ROOT, load_yaml, render

pytestmark = pytest.mark.slow

ROLES = sorted(
    path.name for path in (ROOT / "roles").iterdir() if path.name not in {"test_machines"}
)
PLAYBOOKS = "playbooks"
# Options of the role exporters that only a playbook reads, for the exporters of results and health.
_RESULTS_OPTIONS = {
    "exporters_results_series_max": {"type": "int"},
    "exporters_results_runs_max": {"type": "int"},
    "exporters_results_keep_days": {"type": "float"},
    "exporters_results_recount_s": {"type": "float"},
    "exporters_health_probe_interval_s": {"type": "float"},
    "exporters_health_probe_timeout_s": {"type": "float"},
    "exporters_health_components_max": {"type": "int"},
    "exporters_health_disk_window_s": {"type": "float"},
    "exporters_health_disk_history_min_s": {"type": "float"},
}
"""The playbooks and the settings of the groups, which are tested like a role."""

CONDITIONS = {"when", "until", "failed_when", "changed_when", "that"}
BOOLS = {True: ("true", "yes", "1", "True"), False: ("false", "no", "0", "False")}

EXPORTERS = ("results", "qoe", "cost", "health", "cpu", "gpu", "ffmpeg", "docker_stats")
SAMPLES: dict[str, list[Any]] = {
    "alertmanager_receivers": [
        [{"name": "a", "webhooks": [{"url": "http://a/"}]}],
        [{"name": "b", "slack": [{"channel": "c", "url_source": "/c"}]}],
    ],
    "alertmanager_routes": [
        [{"receiver": "farm", "matchers": ["a=b"], "continue": True}],
        [{"receiver": "farm", "matchers": ["a=c"], "repeat_interval": "1d"}],
    ],
    "common_ports": [[{"port": 80, "unit": "a.service"}], [{"port": 81, "unit": "b.service"}]],
    "common_supported_distributions": [{"Debian": ["12"]}, {"Debian": ["13"]}],
    "common_accounts": [
        [{"user": "a", "group": "b", "groups": ["c"], "description": "d"}],
        [{"user": "e", "group": "f", "description": "g"}],
    ],
    "common_directories": [[{"path": "/a"}], [{"path": "/b", "mode": "0700"}]],
    "exporters_instances": [
        [{"name": "cpu", "port": 1, "settings": {"a": 1}}],
        [{"name": "gpu", "port": 2, "devices": ["char-x"], "groups": ["video"]}],
    ],
    # The larger of the two limits applies to VictoriaMetrics as a whole.
    "victoria_metrics_scrape_bytes_max": [10**9, 2 * 10**9],
    "victoria_metrics_results_scrape_bytes_max": [10**9, 2 * 10**9],
    "load_balancer_services": [
        [{"name": "api", "port": 1, "servers": [{"name": "m", "address": "a", "port": 2}]}],
        [{"name": "api", "port": 3, "servers": []}],
    ],
    "master_credentials": [[{"name": "operator", "role": "admin"}], []],
    "master_price_book": [
        [{"valid_from": "2026-01-01", "currency": "EUR", "source": "a"}],
        [{"valid_from": "2026-02-01", "currency": "USD", "source": "b"}],
    ],
    "master_price_books": [{"m1": []}, {"m1": [], "m2": [{"source": "a"}]}],
    "master_worker_prices": [
        {"w1": {"per_hour": 0.5, "energy_per_kwh": "", "currency": "EUR"}},
        {"w1": {"per_hour": 0.6, "energy_per_kwh": 0.3, "currency": "USD"}},
    ],
    "master_extra_credentials": [[{"name": "exporter", "role": "viewer"}], []],
    "release_units": [[{"name": "a.service"}], [{"name": "b.service"}]],
    "victoria_metrics_extra_scrape_configs": [[{"job_name": "a"}], [{"job_name": "b"}]],
    "postgresql_extra_settings": [{"jit": True, "a": 1}, {"b": "c"}],
    "worker_exporters": [{"cpu": 9510}, {"gpu": 9511}],
    "worker_host_price_per_hour": [0.45, 0.5],
    "worker_energy_price_per_kwh": [0.25, 0.5],
    "worker_slot_cpus": [["0", "1"], ["2"]],
    "ffmpeg_wheel_sha256": [{"x86_64": "a" * 64}, {"x86_64": "b" * 64}],
    "release_components": [["master"], ["master", "worker"]],
    # The free space, the age of certificates, and the memory lie between the two values.
    "common_free_bytes_min": [10**8, 10**10],
    "postgresql_memory_mib": [1024, 2048],
    "farm_confirmed_changes": [["release_install_dir"], []],
    "farm_exporter_ports": [
        {name: base + port for port, name in enumerate(EXPORTERS)} for base in (9500, 9600)
    ],
    "pki_crl_days": [1, 30],
    "pki_hosts": [["host1"], ["host1", "host2"]],
    "pki_renew_days": [1, 30],
    "pki_revoked_hosts_max": [0, 5],
    "master_agents": [["node1"], ["node2"]],
    "common_supported_architectures": [["x86_64"], ["aarch64"]],
}
"""Values of variables that need particular elements. All others get a value of their type."""

FACTS = {
    "architecture": "x86_64",
    "distribution": "Debian",
    "distribution_major_version": "12",
    "distribution_version": "12.8",
    "getent_group": {"video": ["x", "1"]},
    "memtotal_mb": 4096,
    "mounts": [{"mount": "/", "size_available": 10**9}],
    "processor_nproc": 2,
    "python": {"executable": "/usr/bin/python3", "version": {"major": 3, "minor": 11}},
    "python_version": "3.11.2",
    "service_mgr": "systemd",
}
_FOLDER = tempfile.TemporaryDirectory()
_SECRETS = Path(_FOLDER.name)
for _name in ("operator", "exporter", "monitoring", "agent-node1", "agent-node2"):
    (_SECRETS / _name).write_text(f"token of {_name}\n")
(_SECRETS / "hosts").mkdir()
for _name in ("host1", "host2"):
    (_SECRETS / f"hosts/{_name}.pem").write_text("")


def _in_days(days: int) -> str:
    """Return a time in the notation of certificates."""
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))


CONTEXT: dict[str, Any] = {
    "ansible_facts": FACTS,
    "ansible_check_mode": False,
    "ansible_playbook_python": "/usr/bin/python3",
    "inventory_hostname": "host1",
    "group_names": ["master", "worker", "monitoring", "load_balancer"],
    "groups": {"master": ["host1"], "worker": ["host1"], "load_balancer": ["host2"]},
    "hostvars": {
        name: {"farm_address": name, "load_balancer_metrics_listen_address": "0.0.0.0"}  # noqa: S104
        for name in ("host1", "host2")
    },
    "playbook_dir": str(ROOT / "playbooks"),
    "release_dir": "/opt/r",
    "release_version": "r",
    "item": {"name": "cpu", "port": 9510, "settings": {}, "devices": ["d"], "groups": ["g"]},
    "worker_currency": "EUR",
    "master_tokens_dir": str(_SECRETS),
    "pki_dir": str(_SECRETS),
    "pki_crl_file": str(_SECRETS / "operator"),
    "grafana_admin_password": "secret",
    "grafana_secret_key": "a key of the database",
    "monitoring_service_name": "ffrtmp-x",
    "monitoring_service_description": "X",
    "monitoring_service_command": ["/usr/bin/x"],
    "monitoring_service_ready_url": "https://127.0.0.1/",
    "alertmanager_webhook_url": "https://w/",
    "exporters_components": [],
    "exporters_token_source": "/x",
    "postgresql_version": "15",
    "postgresql_password_source": "/nonexistent",
    "series_importer_master_url": "https://m:8080",
    "series_importer_token_source": "/x",
    "victoria_metrics_master_url": "https://m:8080",
    "victoria_metrics_token_source": "/x",
    "vmalert_datasource_token_source": "/x",
    "ffmpeg_method": "file",
    "release_install_dir": "/opt/x",
    # Results of tasks.
    "__common_processes": {"stdout": "1 2"},
    "__common_listeners": {
        "listeners": [
            {"port": 80, "pid": 7, "process": "x"},
            {"port": 9, "pid": 8, "process": "x"},
        ]
    },
    # A host that was deployed with another directory.
    "__farm_record": {"content": base64.b64encode(b'{"release_install_dir": "/former"}').decode()},
    "__common_installed": {"stdout_lines": []},
    "__exporters_found": {
        "files": [
            {"path": "/etc/ffmpeg-rtmp/exporter-a1.yml"},
            {"path": "/etc/systemd/system/ffrtmp-exporter@cpu.service.d/exceptions.conf"},
        ]
    },
    "__grafana_database": {"stat": {"exists": True}},
    "__grafana_installed_key": {"stat": {"exists": False}},
    "__pki_ca": {"not_after": "99991231235959Z", "not_before": _in_days(-90)},
    "__pki_crl_info": {"last_update": _in_days(-10), "next_update": "99991231235959Z"},
    "__pki_host": {"not_after": _in_days(10)},
    "__pki_host_exists": True,
    "__release_component": "master",
    "__release_current": {
        "stat": {"exists": True, "lnk_target": "/opt/x/releases/1.0-aaaaaaaaaaaa"}
    },
    "__release_files": {"files": []},
    "__release_found": {
        "files": [
            {"path": f"/opt/x/releases/1.{n}-{n:012d}", "isdir": True, "mtime": n}
            for n in range(20)
        ]
    },
    "__rtmp_server_allowed": ["127.0.0.1"],
    "__rtmp_server_found": {"results": []},
    "__worker_found": {"files": []},
    "__worker_pinning": {"slots": [{"cpus": "0", "memory_nodes": "0"}] * 12},
    "__worker_slot": 0,
}


@dataclass(frozen=True)
class Expression:
    """A text of a role that Ansible renders.

    Attributes:
        place: File and key of the expression.
        text: The expression.
        is_condition: Whether only its truth matters.
    """

    place: str
    text: str
    is_condition: bool


def _expressions(place: str, node: Any, key: str = "") -> Iterator[Expression]:
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _expressions(f"{place}: {name}", child, name)
    elif isinstance(node, list):
        for child in node:
            yield from _expressions(place, child, key)
    elif isinstance(node, str) and key in CONDITIONS:
        bare = node.removeprefix("{{").removesuffix("}}")
        yield Expression(place, f"{{{{ true if ({bare}) else false }}}}", is_condition=True)
    elif isinstance(node, str) and "{{" in node:
        yield Expression(place, node, is_condition=False)


def _with_includes(template: Path) -> str:
    """Return the text of a template in which each included template replaces its inclusion."""

    def included(match: re.Match[str]) -> str:
        return (template.parent / match[1]).read_text(encoding="utf-8")

    text = template.read_text(encoding="utf-8")
    return re.sub(r"\{% include '([^']+)' %\}\n", included, text)


def _task_variables(node: Any) -> dict[str, Any]:
    """Return the variables that tasks define."""
    found: dict[str, Any] = {}
    if isinstance(node, dict):
        found |= node["vars"] if isinstance(node.get("vars"), dict) else {}
        for child in node.values():
            found |= _task_variables(child)
    elif isinstance(node, list):
        for child in node:
            found |= _task_variables(child)
    return found


@functools.cache
def _settings() -> dict[str, Any]:
    """Return the settings of all groups."""
    found: dict[str, Any] = {}
    for path in sorted((ROOT / "group_vars").glob("*.yml")):
        found |= load_yaml(path)
    return found


def _kind(value: Any) -> str:
    """Return the type of a setting, which has no argument spec."""
    kinds: dict[type, str] = {bool: "bool", int: "int", dict: "dict", list: "list"}
    return next((kind for base, kind in kinds.items() if isinstance(value, base)), "str")


@dataclass(frozen=True)
class Role:
    """A role with everything that is rendered in it."""

    name: str
    options: dict[str, Any]
    variables: dict[str, Any]
    expressions: tuple[Expression, ...]

    @classmethod
    @functools.cache
    def load(cls, name: str) -> "Role":
        """Read the files of a role, or of the playbooks."""
        folder = ROOT / "roles" / name
        tasks = {path: load_yaml(path) for path in sorted(folder.glob("tasks/*.yml"))}
        found = [
            Expression(path.name, _with_includes(path), is_condition=False)
            for path in sorted(folder.glob("templates/*.j2"))
        ]
        variables = load_yaml(folder / "defaults/main.yml") | load_yaml(folder / "vars/main.yml")
        if name == PLAYBOOKS:
            tasks = {path: load_yaml(path) for path in sorted((ROOT / name).glob("**/*.yml"))}
            for path in sorted((ROOT / name).glob("vars/*.yml")):
                variables |= tasks.get(path, {})
            # Variables of roles are tested with the roles, except those that only a playbook reads.
            own_names = [key for key in _settings() if key.startswith(("farm_", "grafana_enabled"))]
            options = {key: {"type": _kind(_settings()[key])} for key in own_names}
            options["ffmpeg_packages"] = {"type": "list"}
            options |= _RESULTS_OPTIONS
            variables |= dict.fromkeys(_RESULTS_OPTIONS, 1)
            tasks |= {ROOT / "group_vars": _settings()}
        else:
            options = load_yaml(folder / "meta/argument_specs.yml")["argument_specs"]["main"][
                "options"
            ]
            for key in ("ffmpeg_packages", *_RESULTS_OPTIONS):
                options.pop(key, None)
        for path, document in tasks.items():
            found += _expressions(path.name, document)
            own = _task_variables(document)
            variables |= {key: value for key, value in own.items() if key.startswith("__")}
        return cls(name, options, {**_settings(), **variables, **CONTEXT}, tuple(found))

    def dependents(self, variable: str) -> list[Expression]:
        """Return the expressions that a variable may affect."""
        names = {variable}
        while True:
            texts = {name: json.dumps(value, default=str) for name, value in self.variables.items()}
            pattern = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b")
            more = {name for name, text in texts.items() if pattern.search(text)} - names
            if not more:
                return [e for e in self.expressions if pattern.search(e.text)]
            names |= more

    def render(self, expressions: list[Expression], **values: Any) -> dict[Expression, Any]:
        """Return the value of each expression, or None if it cannot be rendered here."""
        variables = {**self.variables, **values}
        rendered: dict[Expression, Any] = {}
        for expression in expressions:
            is_file = expression.place.endswith(".j2")
            try:
                rendered[expression] = render(expression.text, variables, is_file=is_file)
            except AnsibleError as error:
                rendered[expression] = ("error", type(error).__name__)
        return rendered


def _samples(name: str, option: dict[str, Any]) -> list[Any]:
    kind = option["type"]
    if name in SAMPLES:
        return SAMPLES[name]
    if kind == "bool":
        return [True, False]
    if kind in {"int", "float"}:
        return [7, 8] if kind == "int" else [1.5, 2.0]
    if kind == "dict":
        return [{"a1": "b1"}, {"a2": "b2"}]
    if kind == "list":
        return [["a1", "a2"], ["a3"]]
    return []


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, bool):
        return BOOLS[value]
    if isinstance(value, int | float):
        return (str(value),)
    return (json.dumps(value),)


def _canonical(typed: Any, value: Any) -> Any:
    """Return a value in the form that a module's argument of the typed value's type has."""
    if isinstance(typed, list | dict) and isinstance(value, str):
        # The text is passed to a role, which converts it.
        return yaml.safe_load(value)
    if isinstance(typed, bool) and isinstance(value, str):
        return boolean(value, strict=False)
    if isinstance(typed, list | tuple) and isinstance(value, list | tuple):
        pairs = zip(typed, value, strict=False)
        return [_canonical(a, b) for a, b in pairs] if len(typed) == len(value) else list(value)
    if isinstance(typed, dict) and isinstance(value, dict) and typed.keys() == value.keys():
        return {name: _canonical(typed[name], value[name]) for name in typed}
    if isinstance(typed, int | float) and not isinstance(typed, bool):
        return str(value)
    return value


CASES = [
    (role, name)
    for role in (*ROLES, PLAYBOOKS)
    for name, option in (Role.load(role).options).items()
    if _samples(name, option)
]


@pytest.mark.parametrize(("role", "name"), CASES)
def test_a_text_means_the_same_as_the_value(role: str, name: str) -> None:
    loaded = Role.load(role)
    expressions = loaded.dependents(name)
    outcomes = []
    for value in _samples(name, loaded.options[name]):
        typed = loaded.render(expressions, **{name: value})
        outcomes.append([str(outcome) for outcome in typed.values()])
        for text in _texts(value):
            given = loaded.render(expressions, **{name: text})
            for expression, wanted in typed.items():
                found = given[expression]
                assert _canonical(wanted, found) == _canonical(wanted, wanted), (
                    f"{expression.place} with {name}={text!r}"
                )
    # The comparison would prove nothing if the variable did not affect any expression.
    assert outcomes[0] != outcomes[-1], f"{name} affects no expression that this test renders"
