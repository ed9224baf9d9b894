"""Tests of the processes that listen on ports, with real sockets of this process."""

import os
import socket
from pathlib import Path

import listeners_info
from ansible.module_utils.ffrtmp.listeners import Listener, listeners

from .conftest import RunModule


def test_the_process_of_a_listening_socket_is_found(run_module: RunModule) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = run_module(listeners_info, ports=[port])
        assert [(item["port"], item["pid"]) for item in found["listeners"]] == [(port, os.getpid())]
        assert found["listeners"][0]["process"]
    assert run_module(listeners_info, ports=[port])["listeners"] == []


def test_connections_and_other_ports_are_not_listed() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert listeners([client.getsockname()[1]]) == []


def test_an_ipv6_socket_is_found() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        assert [item.pid for item in listeners([port])] == [os.getpid()]


def test_a_socket_without_a_known_process_is_listed(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    row = "0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711"
    (tmp_path / "net/tcp").write_text(f"header\n{row}\n")
    assert listeners([8080], tmp_path) == [Listener(8080, None, "")]
