"""Tests of Alertmanager's settings: suppression, intervals, and values that are refused."""

import re
from typing import Any

import alert_rules
import pytest
import role_template
from role_templates import ROOT, load_yaml
from victoria_metrics import role_value


def alertmanager_settings() -> dict[str, Any]:
    """Return the settings of Alertmanager with the defaults of the role."""
    text = role_template.render("alertmanager", "alertmanager.yml.j2")
    found: dict[str, Any] = alert_rules.load(text)
    return found


def seconds(duration: str) -> float:
    """Return a duration in Prometheus' notation, of one unit, in seconds."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h)", duration)
    assert found, duration
    return int(found[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[found[2]]


def test_an_alert_is_suppressed_before_it_could_have_been_sent() -> None:
    """Alertmanager does not send the end of an alert that it suppresses at that time."""
    offline_s = load_yaml(ROOT / "roles/master/defaults/main.yml")["master_node_offline_s"]
    # The time for which the condition of each alert must hold.
    holds: dict[str, float] = {}
    for rule in alert_rules.rules():
        hold_s = seconds(rule.get("for", "0s")) + (rule["alert"] == "NodeOffline") * offline_s
        holds[rule["alert"]] = max(hold_s, holds.get(rule["alert"], 0))
    # This one has a window instead of a hold.
    window_minutes = load_yaml(ROOT / "roles/vmalert/defaults/main.yml")[
        "vmalert_queue_starvation_minutes"
    ]
    holds["QueueStarves"] = window_minutes * 60
    compared = 0
    for rule in alertmanager_settings()["inhibit_rules"]:
        sources, targets = (
            re.findall(r'alertname =~?\s*"([\w|]+)"', " ".join(rule[key]))
            for key in ("source_matchers", "target_matchers")
        )
        for source in sources:
            for target in targets[0].split("|"):
                assert holds[target] > holds[source], f"{source} suppresses {target}"
                compared += 1
    assert compared >= 10


def test_the_watchdog_is_repeated_at_every_interval() -> None:
    """Two equal intervals would make Alertmanager omit messages."""
    (watchdog, *_) = alertmanager_settings()["route"]["routes"]
    assert watchdog["receiver"] == "watchdog"
    assert seconds(watchdog["repeat_interval"]) < seconds(watchdog["group_interval"]) / 100


PROBLEMS = [
    (
        {"alertmanager_receivers": [{"name": "farm", "webhooks": [{"url": "http://a/"}]}]},
        "must not be farm or watchdog",
    ),
    (
        {"alertmanager_receivers": [{"name": "On call", "webhooks": [{"url": "http://a/"}]}]},
        "the name On call must consist of lower-case letters",
    ),
    (
        {"alertmanager_receivers": [{"name": "a", "webhooks": [{"url": "http://a/"}]}] * 2},
        "a is defined more than once",
    ),
    ({"alertmanager_receivers": [{"name": "a"}]}, "a needs at least one of webhooks"),
    (
        {"alertmanager_receivers": [{"name": "a", "webhooks": [{}]}]},
        "each webhook of a needs either url or url_source",
    ),
    (
        {"alertmanager_receivers": [{"name": "a", "emails": [{"username": "u"}]}]},
        "each e-mail of a needs both username and password_source",
    ),
    (
        {"alertmanager_receivers": [{"name": "a", "slack": [{"url_source": "/nonexistent"}]}]},
        "the file /nonexistent does not exist on the control node",
    ),
    (
        {"alertmanager_receivers": [{"name": "a", "webhooks": [{"url_source": "/nonexistent"}]}]},
        "the file /nonexistent does not exist on the control node",
    ),
    (
        {"alertmanager_group_wait": "half a minute"},
        "alertmanager_group_wait must be a time in Prometheus' notation, such as 30s, 5m or 1h30m",
    ),
    ({"alertmanager_watchdog_interval": 300}, "alertmanager_watchdog_interval must be a time"),
    ({"alertmanager_repeat_interval": "0s"}, "alertmanager_repeat_interval must be a time"),
    (
        {
            "alertmanager_routes": [
                {"receiver": "farm", "matchers": ['farm="a"'], "repeat_interval": "1 d"}
            ]
        },
        "alertmanager_routes: repeat_interval must be a time",
    ),
    (
        {"alertmanager_routes": [{"receiver": "x", "matchers": ['severity="critical"']}]},
        "alertmanager_routes: the receiver x is not defined. Defined are farm.",
    ),
    (
        {"alertmanager_default_receiver": "x"},
        "alertmanager_default_receiver: the receiver x is not defined",
    ),
    ({"alertmanager_webhok_url": "http://a/"}, "has no alertmanager_webhok_url"),
]


@pytest.mark.parametrize(("settings", "problem"), PROBLEMS)
def test_invalid_settings_are_refused_with_the_cause(
    settings: dict[str, Any], problem: str
) -> None:
    variables = {"role_path": str(ROOT / "roles/alertmanager"), **settings}
    (found,) = role_value("alertmanager", "{{ __alertmanager_problems }}", variables)
    assert problem in found
