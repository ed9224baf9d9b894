"""Tests that compare docs/deployment.md with what the roles install on hosts."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment_page import PAGE, is_listed, listed_paths
from settings_catalog import Setting

# Roles whose files are on the control node.
_CONTROL_NODE = {"credentials", "join_archive", "test_machines"}
_WRITTEN = re.compile(r"\b(?:dest|path): \"?(/(?:etc|opt|usr/local|var)/[^\s\"'{,}]*)")
_NAME = re.compile(r"`([a-z]+(?:_[a-z]+)+)`")


@pytest.fixture(scope="module")
def page() -> str:
    return (Path(__file__).resolve().parents[2] / PAGE).read_text(encoding="utf-8")


def host_roles(root: Path) -> list[Path]:
    return [path for path in (root / "roles").iterdir() if path.name not in _CONTROL_NODE]


def layout(root: Path) -> dict[str, Any]:
    text = (root / "playbooks/vars/host_layout.yml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def test_every_written_path_is_listed(root: Path) -> None:
    files = [file for role in host_roles(root) for file in role.glob("*/*.yml")]
    files.append(root / "playbooks/vars/host_layout.yml")
    texts = [file.read_text(encoding="utf-8") for file in files]
    written = {path.rstrip("/") for text in texts for path in _WRITTEN.findall(text)}
    assert len(written) > 30
    listed = listed_paths(root)
    # Directories that contain a listed file, such as /etc/systemd/system.
    parents = {str(parent) for path in listed for parent in Path(path).parents}
    assert [path for path in written - parents if not is_listed(path, listed)] == []


def test_every_default_directory_is_listed(root: Path, settings: dict[str, Setting]) -> None:
    listed = listed_paths(root)
    directories = [
        setting.default
        for setting in settings.values()
        if setting.name.endswith(("_dir", "_token_file"))
        # Directories below /var/run belong to programs that run.
        and setting.default.startswith(("/etc/", "/opt/", "/var/lib/", "/var/backups/"))
    ]
    assert len(directories) > 10
    assert [path for path in directories if not is_listed(path, listed)] == []


def test_every_unit_is_listed(root: Path, page: str) -> None:
    templates = [file for role in host_roles(root) for file in role.glob("templates/ffrtmp-*")]
    units = {file.name.removesuffix(".j2") for file in templates}
    tasks = (file.read_text("utf-8") for file in (root / "roles").glob("*/tasks/*.yml"))
    named = re.findall(r"monitoring_service_name: ([a-z-]+)", "".join(tasks))
    assert named
    units |= {f"{name}.service" for name in named}
    assert [unit for unit in sorted(units) if f"`{unit}`" not in page] == []


def test_every_account_and_mask_is_listed(root: Path, page: str) -> None:
    values = layout(root)
    accounts = re.findall(r"ffrtmp-[a-z-]+", str(values["__farm_accounts"]))
    accounts += re.findall(r"ffrtmp-[a-z-]+", str(values["__farm_groups"]))
    assert [name for name in accounts if f"`{name}`" not in page] == []
    masked = re.findall(r"[a-z-]+\.service", str(values["__farm_masked_units"]))
    listed = listed_paths(root)
    assert [unit for unit in masked if f"/etc/systemd/system/{unit}" not in listed] == []


def test_every_package_is_listed(root: Path, page: str, settings: dict[str, Setting]) -> None:
    by_group = layout(root)["__farm_packages"]
    names = [*by_group["monitoring"], *by_group["load_balancer"], *by_group["postgresql"]]
    names += re.findall(r"'([a-z-]+)'", f"{by_group['all']} {by_group['worker']}")
    names += yaml.safe_load(settings["common_packages"].default)
    rtmp_server = (root / "roles/rtmp_server/vars/main.yml").read_text(encoding="utf-8")
    names += yaml.safe_load(rtmp_server)["__rtmp_server_packages"]
    assert len(names) > 10
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_named_setting_exists(page: str, settings: dict[str, Setting]) -> None:
    groups = {"load_balancer", "rtmp_server", "package_file"}
    names = set(_NAME.findall(page)) - groups
    assert len(names) > 20
    assert [name for name in sorted(names) if name not in settings] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("victoria_metrics_retention", "metrics in VictoriaMetrics | {} months |"),
        ("master_backup_keep", "SQLite database | {}, one per night |"),
        ("postgresql_backup_keep", "dumps of PostgreSQL | {}, one per night |"),
        ("release_keep", "releases on each host | {} |"),
    ],
)
def test_retention_equals_the_default(
    page: str, settings: dict[str, Setting], name: str, text: str
) -> None:
    value = (settings[name].in_farm or settings[name].default).strip("'\"")
    assert text.format(value) in page


def test_data_of_the_master_is_kept_by_default(settings: dict[str, Setting]) -> None:
    names = ["master_jobs_keep_days", "master_artifacts_keep_days", "master_sources_keep_days"]
    assert {settings[name].default for name in names} == {"null"}
