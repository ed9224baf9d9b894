"""Tests of the values that the options of the modules accept."""

import importlib
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.ffrtmp import options
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import RunModule
from .test_documentation import MASTER_MODULES, MODULES

RUN_ID = "019a0000-0000-7000-8000-000000000000"
VALID: dict[str, Any] = {
    "master_url": "https://127.0.0.1:1",
    "token": "a-valid-token",
    "ca_file": "/nonexistent/ca.pem",
    "run_id": RUN_ID,
    "name": "worker1",
    "dest": "/nonexistent/results",
    "suite": "/nonexistent/suite.yml",
    "suite_text": "name: demo",
    "slots": 1,
    "address": "192.0.2.13",
    "certificate_file": "/nonexistent/host.pem",
    "crl_file": "/nonexistent/crl.pem",
    "key_file": "/nonexistent/host.key",
    "path": "/nonexistent/w3.tar",
    "token_file": "/nonexistent/token",
}
"""A valid value of each required option."""

# The options of the action plugin ffrtmp_compare are tested with the plugin, in test_compare.py.
CHECKED_MODULES = tuple(module for module in MODULES if module != "ffrtmp_compare")

PATHS = ("", " ", "a\nb", "a\x00b", "x" * 4096)
INVALID: dict[str, tuple[Any, ...]] = {
    "address": ("", "a b", "10.0.0.256"),
    "below": PATHS[1:],
    "ca_file": PATHS,
    "certificate_file": PATHS,
    "client_cert": PATHS,
    "client_key": PATHS,
    "crl_file": PATHS,
    "cpus": (["0"] * 2000, ["1" * 5000], ["0\n"]),
    "dest": PATHS,
    "key": ("", "a\nb", "ü", "x" * 256, " x", "x "),
    "farm_name": ("a\nb", "a\x00b", "x" * 256),
    "host": ("", "a b", "10.0.0.256"),
    "inputs": tuple([path] for path in PATHS),
    "key_file": PATHS,
    "known_counts": ({"queued": "many"}, {"queued": -1}, {"queued": None}, {"queued": "9" * 5000}),
    "master_url": (
        "",
        "127.0.0.1:8080",
        "http://127.0.0.1:8080",
        "https://",
        "https://:8080",
        "https://127.0.0.1:0",
        "https://127.0.0.1:65536",
        "https://127.0.0.1:http",
        "https://127.0.0.1:",
        "https://[::1:8080",
        "https://127.0.0.256:8080",
        "https://ho st:8080",
        "https://h\nost:8080",
        "https://höst:8080",
        "https://" + "x" * 64 + ":8080",
        "https://" + "x." * 200 + "x:8080",
        "https://user:word@127.0.0.1:8080",
        "https://127.0.0.1:8080/?token=word",
        "https://127.0.0.1:8080/#token",
    ),
    "memory_nodes": (["0"] * 2000, ["1" * 5000], ["\x00"]),
    "name": ("", "a b", "a\n", "../nodes", "-a", "x" * 65),
    "path": PATHS,
    "ports": ([0], [65536]),
    "record_dir": PATHS,
    "reload_inputs": tuple([path] for path in PATHS),
    "rtmp_stat_url": ("http://h/stat", "h", "https://", "https://a b/"),
    "rtmp_url": ("http://h/live", "h", "rtmp://", "rtmp://a b/live"),
    "run_id": ("", "x", "../nodes", RUN_ID + "\n", RUN_ID[:-1]),
    "seed": (-1, 2**31, 10**30),
    "slots": (0, -1, 10**9),
    "socket": PATHS[1:],
    "status_text": ("(", "x" * 1025),
    "steady_s": (-1, math.nan, math.inf),
    "suite": PATHS,
    "suite_text": ("", "x" * 1_000_001),
    "timeout_s": (0, -1, math.nan, math.inf, -math.inf, 10**9),
    "token": ("", "\n", "a\nb", "a\r\nb", "a b", "ü", "a\x00b", "x" * 4097),
    "token_file": PATHS,
    "tree": PATHS,
    "url": ("x", "ftp://h/", "https://user:word@h/", "https://a b/"),
    "values": (dict.fromkeys(map(str, range(2000)), 1),),
    "wait_change_s": (-1, math.nan, math.inf, -math.inf, 10**9),
    "wait_timeout_s": (-1, math.nan, math.inf, -math.inf, 10**9, "nan", "inf"),
}
"""Values of each option that must be refused."""

TEXT_OPTIONS = sorted(
    name for name, values in INVALID.items() if all(isinstance(value, str) for value in values)
)


def arguments_of(
    module: str, option: str, value: Any, parents: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return arguments of a module with valid values, except that of `option`.

    Args:
        module: Name of the module.
        option: Name of the option.
        value: Value of the option.
        parents: Names of the options that contain the option, beginning with the outermost.
    """
    if module == "ffrtmp_run_wait":
        return arguments_of("ffrtmp_run_info", option, value)
    if module == "ffrtmp_suite_check":
        return arguments_of("ffrtmp_run", option, value)
    spec = importlib.import_module(module).ARGUMENT_SPEC
    required = {name for name, details in spec.items() if details.get("required")}
    if module == "ffrtmp_run":
        required.add("suite" if option != "run_id" else "state")
    arguments = {name: VALID.get(name, "canceled") for name in required}
    given: Any = {option: value}
    if parents[-1:] == ("ready",):
        given = {"ready": given}
    if parents[:1] == ("units",):
        given = {"units": [{"name": "example.service", **given}]}
    if parents == ("sources",):
        given = {"sources": [given]}
    return arguments | given


def _options(
    spec: dict[str, Any], parents: tuple[str, ...] = ()
) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """Yield the name, the parents and the details of all options that have a value."""
    for name, details in spec.items():
        if "options" in details:
            yield from _options(details["options"], (*parents, name))
        elif details["type"] != "bool" and "choices" not in details:
            yield name, parents, details


def _cases() -> Iterator[tuple[str, str, tuple[str, ...], Any]]:
    for module in CHECKED_MODULES:
        for name, parents, details in _options(importlib.import_module(module).ARGUMENT_SPEC):
            for value in INVALID[name]:
                is_default = parents[-1:] == ("ready",) and value == details.get("default")
                # Ansible refuses other numbers for whole numbers with a message of its own.
                is_whole = details["type"] != "int" or isinstance(value, int)
                if is_whole and not is_default:
                    yield module, name, parents, value


@pytest.mark.parametrize(("module", "option", "parents", "value"), list(_cases()))
def test_an_invalid_value_is_refused_with_the_name_of_the_option(
    run_module: RunModule, module: str, option: str, parents: tuple[str, ...], value: Any
) -> None:
    arguments = arguments_of(module, option, value, parents)
    answer = run_module(importlib.import_module(module), **arguments)

    assert answer["rc"] == 1
    assert option in answer["msg"]
    assert " must " in answer["msg"]
    assert "Traceback" not in json.dumps(answer)
    assert answer.get("temporary") is not True


@pytest.mark.parametrize("module", CHECKED_MODULES)
def test_every_option_has_a_rule(module: str) -> None:
    for name, parents, _ in _options(importlib.import_module(module).ARGUMENT_SPEC):
        assert options.is_checked(name, parents[-1] if parents else ""), name
        assert name in INVALID, name


@pytest.mark.parametrize("module", MASTER_MODULES)
def test_all_invalid_options_are_named(run_module: RunModule, module: str) -> None:
    arguments = arguments_of(module, "timeout_s", math.nan) | {"token": "a\nb", "ca_file": ""}

    answer = run_module(importlib.import_module(module), **arguments)

    assert all(name in answer["msg"] for name in ("timeout_s", "token", "ca_file"))


@pytest.mark.parametrize(
    "url",
    [
        "https://master1",
        "https://master1:8080/",
        "https://master1.example.org:65535/prefix/",
        "https://10.0.0.5:8080",
        "https://[::1]:8080",
        "https://[fe80::1%25eth0]:8080",
    ],
)
def test_urls_of_masters_are_accepted(url: str) -> None:
    assert options.problem("master_url", url) is None


@pytest.mark.property
@settings(max_examples=50, deadline=None)
@given(st.text() | st.builds("https://{}".format, st.text()))
def test_any_text_is_a_url_or_is_refused_with_a_message(text: str) -> None:
    found = options.problem("master_url", text)

    if found is None:
        parts = options.split_master_url(text)
        assert parts is not None
        assert parts.hostname
        assert "@" not in text
    else:
        assert found.startswith("master_url must look like")


@pytest.mark.property
@settings(max_examples=50, deadline=None)
@given(st.sampled_from(TEXT_OPTIONS), st.text())
def test_a_message_never_contains_the_text_that_it_refuses(name: str, text: str) -> None:
    assert "m4rk3d" not in (options.problem(name, f"m4rk3d{text}") or "")
