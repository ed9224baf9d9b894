"""Tests of vmagent, which writes to a second VictoriaMetrics, and of queries to that one."""

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from certificates import Site
from polling import wait_until
from postgresql import free_port
from role_templates import ROOT, load_yaml, render
from victoria_metrics import (
    FIRST_RELEASE_UNLESS_DEEP,
    Service,
    command,
    programs,
    role_value,
    run_service,
    run_victoria_metrics,
    settings,
    write_scrape_config,
)

_TOKEN = "a-token-of-the-existing-database"
_FARM = "extra_label=farm=lab"


class Existing(NamedTuple):
    """A database that other farms use too, and its entrance, which requires a token."""

    site: Site
    release: str
    store: Service
    entrance_port: int

    @property
    def url(self) -> str:
        """The URL of the entrance."""
        return f"https://127.0.0.1:{self.entrance_port}"

    def entrance(self, name: str) -> AbstractContextManager[Service]:
        """Run the entrance within the context."""
        config = self.site.folder / "entrance.yml"
        user = {"bearer_token": _TOKEN, "url_prefix": str(self.store.http.base_url)}
        config.write_text(json.dumps({"users": [user]}))
        arguments = [
            str(programs(self.release) / "vmauth"),
            f"-auth.config={config}",
            f"-httpListenAddr=127.0.0.1:{self.entrance_port}",
            "-tls",
            f"-tlsCertFile={self.site.certificate_file}",
            f"-tlsKeyFile={self.site.key_file}",
        ]
        environment = {"SSL_CERT_FILE": str(self.site.ca_file)}
        return run_service(arguments, self.url, self.site, name, environment)


class Farm(NamedTuple):
    """The VictoriaMetrics of a farm, vmagent, and the settings of the role."""

    existing: Existing
    site: Site
    store: Service
    agent: Service
    token_file: Path
    databases_ca_file: Path


@pytest.fixture(scope="module", params=FIRST_RELEASE_UNLESS_DEEP)
def existing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Existing]:
    site = Site(tmp_path_factory.mktemp("existing"))
    known = settings(site, request.param, free_port())
    write_scrape_config(known)
    with run_victoria_metrics(site, request.param, known) as store:
        yield Existing(site, request.param, store, free_port())


@pytest.fixture(scope="module")
def farm(existing: Existing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A farm that stores its metrics itself and writes them to the existing database."""
    site = Site(tmp_path_factory.mktemp("farm"))
    databases_ca_file = site.folder / "databases.pem"
    databases_ca_file.write_bytes(existing.site.ca_file.read_bytes())
    token_file = site.folder / "write.token"
    token_file.write_text(_TOKEN)
    agent_port = free_port()
    known = settings(
        site,
        existing.release,
        free_port(),
        victoria_metrics_scrape_interval_s=1,
        victoria_metrics_agent_port=agent_port,
        victoria_metrics_write_urls=[f"{existing.url}/api/v1/write"],
        victoria_metrics_write_ca_file=str(databases_ca_file),
        victoria_metrics_write_token_source=str(token_file),
        victoria_metrics_write_token_file=str(token_file),
        victoria_metrics_write_labels={"farm": "lab"},
    )
    write_scrape_config(known)
    name = "__victoria_metrics_agent_command"
    arguments = command("victoria_metrics", name, existing.release, known)
    with ExitStack() as stack:
        store = stack.enter_context(run_victoria_metrics(site, existing.release, known))
        agent_url = f"https://127.0.0.1:{agent_port}"
        agent = stack.enter_context(run_service(arguments, agent_url, site, "vmagent"))
        yield Farm(existing, site, store, agent, token_file, databases_ca_file)


@pytest.mark.slow
def test_samples_reach_both_databases_also_after_an_outage_of_one(farm: Farm) -> None:
    existing = farm.existing
    # The existing database cannot be reached yet. That of the farm does not depend on it.
    agent_up = 'up{job="vmagent",farm="lab"}'
    wait_until(lambda: farm.store.value(agent_up) == 1, "vmagent writes to the farm")
    assert existing.store.query('up{job="vmagent"}') == []
    started_s = time.time()
    imported = {
        "metric": {"__name__": "ffrtmp_sample_power_watts", "node": "w1"},
        "values": [7],
        "timestamps": [int(started_s * 1000) - 60_000],
    }
    farm.agent.http.post("/api/v1/import", json=imported).raise_for_status()
    with existing.entrance("entrance"):
        wait_until(lambda: existing.store.value(agent_up) == 1, "vmagent writes to both")
        power = 'last_over_time(ffrtmp_sample_power_watts{farm="lab",node="w1"}[1h])'
        assert wait_until(lambda: existing.store.value(power), "the import arrives") == 7
        assert wait_until(lambda: farm.store.value(power), "the import arrives") == 7
        # Samples from before the existing database could be reached.
        first = 'tfirst_over_time(up{job="vmagent"}[1h])'
        wait_until(
            lambda: (existing.store.value(first) or started_s) < started_s, "old samples arrive"
        )


@pytest.mark.slow
def test_rules_are_evaluated_in_the_existing_database_for_one_farm(farm: Farm) -> None:
    existing = farm.existing
    rules = [
        {"alert": "OfThisFarm", "expr": 'present{state="a"} == 1'},
        {"alert": "OfAnotherFarm", "expr": 'present{state="b"} == 1'},
    ]
    config = farm.site.folder / "rules.yml"
    config.write_text(json.dumps({"groups": [{"name": "farm", "rules": rules}]}))
    now_ms = int(time.time() * 1000)
    for name, state in (("lab", "a"), ("other", "b")):
        sample = f'present{{farm="{name}",state="{state}"}} 1 {now_ms}\n'
        existing.store.http.post("/api/v1/import/prometheus", content=sample).raise_for_status()
    port = free_port()
    files = {
        "certificate_file": farm.site.certificate_file,
        "key_file": farm.site.key_file,
        "ca_file": farm.site.ca_file,
        "config_dir": farm.site.folder,
        "datasource_ca_file": farm.databases_ca_file,
        "datasource_token_source": farm.token_file,
        "datasource_token_file": farm.token_file,
    }
    known = {
        "victoria_metrics_config_dir": str(farm.site.folder),
        "vmalert_port": port,
        "vmalert_evaluation_interval_s": 1,
        "vmalert_datasource_url": f"{existing.url}?{_FARM}",
        "vmalert_remote_write_url": str(farm.agent.http.base_url),
        "vmalert_external_labels": {"farm": "lab"},
        **{f"vmalert_{name}": str(path) for name, path in files.items()},
    }
    arguments = command("vmalert", "__vmalert_command", existing.release, known)
    url = f"https://127.0.0.1:{port}"
    with existing.entrance("queries"), run_service(arguments, url, farm.site, "vmalert"):
        stored = 'ALERTS{alertname="OfThisFarm",alertstate="firing"}'
        (series,) = wait_until(lambda: existing.store.query(stored), "the alert is stored")
        assert series["metric"]["farm"] == "lab"
        assert farm.store.query(stored)
    assert existing.store.query('ALERTS{alertname="OfAnotherFarm"}') == []


@pytest.mark.slow
def test_the_existing_database_requires_the_token(farm: Farm) -> None:
    with farm.existing.entrance("refusals") as entrance:
        assert entrance.http.get("/api/v1/query", params={"query": "up"}).status_code == 401
        header = {"Authorization": f"Bearer {_TOKEN}"}
        answer = entrance.http.get("/api/v1/query", params={"query": "up"}, headers=header)
        assert answer.status_code == 200


def destinations(**variables: Any) -> list[dict[str, str]]:
    found: list[dict[str, str]] = role_value(
        "victoria_metrics", "{{ __victoria_metrics_destinations }}", variables
    )
    return found


def test_without_a_database_of_its_own_the_farm_writes_only_to_the_existing_one() -> None:
    url = "https://db.example.com:8480/insert/0/prometheus/api/v1/write"
    assert destinations(
        victoria_metrics_store_enabled="false", victoria_metrics_write_urls=[url]
    ) == [{"url": url, "ca_file": "", "token_file": ""}]


@pytest.mark.parametrize(
    ("variables", "remedy"),
    [
        ({"victoria_metrics_write_urls": ["https://db.example.com"]}, "with a path"),
        ({"victoria_metrics_write_urls": ["https://u:p@db/api/v1/write"]}, "write_token_source"),
        ({"victoria_metrics_store_enabled": "false"}, "Set victoria_metrics_write_urls"),
        ({"victoria_metrics_write_labels": {"farm": "a,b=c"}}, "farm=a,b=c"),
        ({"victoria_metrics_write_labels": {"a b": "c"}}, "a b=c"),
    ],
)
def test_settings_that_lose_metrics_or_disclose_secrets_are_refused(
    variables: dict[str, Any], remedy: str
) -> None:
    known = {
        "victoria_metrics_master_url": "https://m1:8080",
        "role_path": str(ROOT / "roles/victoria_metrics"),
        "__victoria_metrics_unknown": [],
    }
    text = "{{ __victoria_metrics_problems }}"
    assert role_value("victoria_metrics", text, known) == []
    found = role_value("victoria_metrics", text, known | variables)
    assert remedy in " ".join(found)


def test_the_playbook_uses_the_existing_database_for_all_queries() -> None:
    (play,) = load_yaml(ROOT / "playbooks/monitoring.yml")
    own = {
        **load_yaml(ROOT / "group_vars/all.yml"),
        **load_yaml(ROOT / "group_vars/monitoring.yml"),
        **play["vars"],
        "farm_name": "lab",
    }
    roles = {role["role"]: role["vars"] for role in play["roles"]}
    used = {
        "vmalert": ("vmalert_datasource_url", "vmalert_remote_write_url"),
        "series_importer": ("series_importer_import_url",),
        "victoria_metrics": ("victoria_metrics_store_enabled",),
    }

    def rendered(**variables: Any) -> list[Any]:
        return [
            render(roles[role][name], own | variables)
            for role, names in used.items()
            for name in names
        ]

    local = "https://127.0.0.1:8428"
    assert rendered() == [local, local, f"{local}/api/v1/import", True]
    write = "https://db:8480/insert/0/prometheus/api/v1/write"
    agent = "https://127.0.0.1:8429"
    assert rendered(farm_metrics_write_urls=[write]) == [
        *(local, agent, f"{agent}/api/v1/import", True)
    ]
    query = "https://db:8481/select/0/prometheus"
    assert rendered(farm_metrics_write_urls=[write], farm_metrics_query_url=query) == [
        *(f"{query}?{_FARM}", agent, f"{agent}/api/v1/import", False)
    ]
