"""Tests of VictoriaMetrics' scrape configuration, which VictoriaMetrics itself checks."""

import subprocess
from pathlib import Path
from typing import Any

import factories
import msgspec
import pytest
import result_collectors
import role_template
from certificates import Site
from ffrtmp_master.exporters.settings import ApiExporterSettings
from ffrtmp_shared.metric_page import MetricPage
from ffrtmp_shared.prices import PriceBook
from role_templates import ROOT, load_yaml, render
from ruamel.yaml import YAML

_PROGRAM = Path(__file__).resolve().parents[2] / ".cache/victoria-metrics/usr/bin/victoria-metrics"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> str:
    # VictoriaMetrics also checks the certificates.
    site = Site(tmp_path_factory.mktemp("pki"))
    (site.folder / "token").write_text("token")
    return role_template.render(
        "victoria_metrics",
        "scrape.yml.j2",
        victoria_metrics_certificate_file=str(site.certificate_file),
        victoria_metrics_key_file=str(site.key_file),
        victoria_metrics_ca_file=str(site.ca_file),
        victoria_metrics_token_file=str(site.folder / "token"),
        victoria_metrics_master_url="https://10.0.0.5:8080",
        victoria_metrics_master_targets=["10.0.0.5:9507", "10.0.0.6:9507"],
        victoria_metrics_service_targets={"vmalert": "127.0.0.1:8880"},
        victoria_metrics_sample_limit=3000,
        victoria_metrics_extra_scrape_configs=[
            {"job_name": "plain", "static_configs": [{"targets": ["h:1"]}]},
            {"job_name": "own", "sample_limit": 7, "static_configs": [{"targets": ["h:2"]}]},
        ],
    )


@pytest.fixture
def jobs(rendered: str) -> dict[str, Any]:
    found = YAML(typ="safe").load(rendered)["scrape_configs"]
    return {job["job_name"]: job for job in found}


def test_every_job_bounds_the_samples_and_series_of_a_target(jobs: dict[str, Any]) -> None:
    assert {"cpu", "gpu", "ffmpeg", "docker_stats", "master", "results", "health"} < set(jobs)
    assert {"vmalert", "plain", "own"} < set(jobs)
    for name, job in jobs.items():
        samples, series = {"own": (7, 50_000), "results": (160_000, 400_000)}.get(
            name, (3000, 50_000)
        )
        assert job["sample_limit"] == samples, name
        assert job["series_limit"] == series, name


def test_the_limits_allow_all_latest_results_that_the_exporters_serve() -> None:
    monitoring = load_yaml(ROOT / "roles/victoria_metrics/defaults/main.yml")
    exporters = load_yaml(ROOT / "roles/exporters/defaults/main.yml")
    series_max = exporters["exporters_results_series_max"]
    defaults = {field.name: field.default for field in msgspec.structs.fields(ApiExporterSettings)}
    for name in ("results_series_max", "results_runs_max", "results_keep_days"):
        assert defaults[name] == exporters[f"exporters_{name}"]
    # A typical result with all values, and the lines of metrics for it.
    scenario = msgspec.structs.replace(factories.scenario(), name="a-long-clip/libx264/slow/10000k")
    found = result_collectors.result(node="worker-17.farm.example.com", scenario=scenario)

    def clock() -> float:
        return found.stored_at.timestamp()

    latest, experience = (
        result_collectors.latest_results(clock),
        result_collectors.experience(clock),
    )
    latest.refresh(result_collectors.page_of(found), lambda _: pytest.fail("there is no run"))
    experience.refresh(result_collectors.page_of(found), PriceBook)
    for collector in (latest, experience):
        page = MetricPage({"exporter": collector}).render("")[0]
        lines = [line for line in page.splitlines() if b"a-long-clip" in line]
        # A run with repeats also has the width of the interval, and one on a host with a GPU and
        # prices has its energy and cost.
        samples = (len(lines) + 2) * series_max
        assert samples < monitoring["victoria_metrics_results_sample_limit"]
        assert samples < monitoring["victoria_metrics_results_series_limit"]
        page_bytes = samples * sum(len(line) + 1 for line in lines) / len(lines)
        assert 2 * page_bytes < monitoring["victoria_metrics_scrape_bytes_max"]


def test_the_playbook_passes_the_settings_of_the_exporters_of_results() -> None:
    (play,) = load_yaml(ROOT / "playbooks/master.yml")
    role = next(role for role in play["roles"] if role["role"] == "exporters")
    variables = {
        **load_yaml(ROOT / "group_vars/all.yml"),
        **load_yaml(ROOT / "roles/exporters/defaults/main.yml"),
        **play["vars"],
        "farm_master_url": "https://m1:8080",
        "exporters_results_series_max": "500",
        "exporters_results_runs_max": "20",
        "exporters_results_keep_days": "7",
        "exporters_results_recount_s": "3600",
    }
    instances = {found["name"]: found for found in role["vars"]["exporters_instances"]}
    for name in ("results", "qoe", "cost"):
        settings = render(instances[name]["settings"], variables)
        assert (settings["results_series_max"], settings["results_runs_max"]) == (500, 20)
        assert (settings["results_keep_days"], settings["results_recount_s"]) == (7.0, 3600.0)
        assert settings["master_url"] == "https://m1:8080"


def test_each_master_is_scraped_at_its_own_address(jobs: dict[str, Any]) -> None:
    assert jobs["master"]["static_configs"] == [{"targets": ["10.0.0.5:9507", "10.0.0.6:9507"]}]


def test_victoria_metrics_accepts_the_configuration(rendered: str, tmp_path: Path) -> None:
    path = tmp_path / "scrape.yml"
    path.write_text(rendered)
    command = [_PROGRAM, "-dryRun", f"-promscrape.config={path}", "-promscrape.config.strictParse"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_size_of_a_response_is_bounded() -> None:
    root = Path(__file__).resolve().parents[2] / "roles/victoria_metrics/vars/main.yml"
    command = YAML(typ="safe").load(root)["__victoria_metrics_command"]
    assert "'-promscrape.maxScrapeSize=' ~ victoria_metrics_scrape_bytes_max" in command
