"""Tests of Grafana's data source: VictoriaMetrics of the farm, or an existing database."""

from typing import Any

import pytest
import role_template
from ruamel.yaml import YAML

_TOKEN = "a-token"


def datasource(**variables: Any) -> dict[str, Any]:
    text = role_template.render("grafana", "datasource.yml.j2", **variables)
    (found,) = YAML(typ="safe").load(text)["datasources"]
    return dict(found)


def test_by_default_the_database_of_the_farm_is_queried() -> None:
    found = datasource()
    assert found["url"] == "https://127.0.0.1:8428"
    assert found["jsonData"] == {
        "httpMethod": "POST",
        "timeInterval": "15s",
        "tlsAuthWithCACert": True,
    }
    assert found["secureJsonData"] == {"tlsCACert": "$__file{/etc/ffmpeg-rtmp/pki/ca.pem}"}


@pytest.mark.parametrize("ca_file", ["", "/etc/ssl/own.pem"])
def test_an_existing_database_is_queried_with_a_token_for_one_farm(ca_file: str) -> None:
    found = datasource(
        grafana_datasource_url="https://db:8481/select/0/prometheus",
        grafana_datasource_ca_file=ca_file,
        grafana_datasource_token=_TOKEN,
        grafana_datasource_query_parameters="extra_label=farm=lab",
    )
    assert found["url"] == "https://db:8481/select/0/prometheus"
    settings, secrets = found["jsonData"], found["secureJsonData"]
    assert settings["customQueryParameters"] == "extra_label=farm=lab"
    assert settings["httpHeaderName1"] == "Authorization"
    assert settings["tlsAuthWithCACert"] is bool(ca_file)
    assert secrets.get("tlsCACert") == (f"$__file{{{ca_file}}}" if ca_file else None)
    # The data source does not contain the token, but names the file with it.
    path = "/etc/grafana/ffmpeg-rtmp-datasource-authorization"
    assert secrets["httpHeaderValue1"] == f"$__file{{{path}}}"
    assert _TOKEN not in str(found)
    header = role_template.render(
        "grafana", "authorization.j2", grafana_datasource_token=f"{_TOKEN}\n"
    )
    assert header.strip() == f"Bearer {_TOKEN}"
