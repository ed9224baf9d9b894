"""Tests of VictoriaMetrics' scrape configuration, which VictoriaMetrics itself checks."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import role_template
from certificates import Site
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
        assert job["sample_limit"] == (7 if name == "own" else 3000), name
        assert job["series_limit"] == 50_000, name


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
