"""Tests of the rules by which connections are admitted, replaced and closed."""

import socket
from collections.abc import Callable, Iterator

import pytest
from ffrtmp_shared.connection_table import ConnectionBounds, ConnectionTable, OpenConnection


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


Connect = Callable[[str], OpenConnection | None]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> ConnectionTable:
    return ConnectionTable(ConnectionBounds(total=4, per_address=2), clock)


@pytest.fixture
def connect(table: ConnectionTable) -> Iterator[Connect]:
    opened: list[socket.socket] = []

    def dial(address: str) -> OpenConnection | None:
        here, there = socket.socketpair()
        opened.extend((here, there))
        return table.admit(here, address, 5.0)

    yield dial
    for each in opened:
        each.close()


def test_a_new_connection_replaces_the_oldest_handshake_of_its_address(
    table: ConnectionTable, connect: Connect
) -> None:
    other, first, second = connect("b"), connect("a"), connect("a")
    third = connect("a")
    assert other and first and second and third
    assert not table.is_open(first)
    assert all(table.is_open(found) for found in (other, second, third))
    assert first.socket.recv(1) == b"", "the thread of the replaced connection wakes up"


def test_completed_handshakes_are_not_replaced(table: ConnectionTable, connect: Connect) -> None:
    first, second = connect("a"), connect("a")
    assert first and second
    first.trusted = second.trusted = True
    assert connect("a") is None
    assert table.is_open(first) and table.is_open(second)


def test_the_total_replaces_handshakes_of_any_address(
    table: ConnectionTable, connect: Connect
) -> None:
    found = [connect(address) for address in "abcde"]
    assert [each is not None and table.is_open(each) for each in found] == [False, *[True] * 4]


def test_threads_that_do_not_end_are_bounded(table: ConnectionTable, connect: Connect) -> None:
    found = [connect(address) for address in "abcdefghijkl"]
    assert found.count(None) == 4, "4 connections are open, and 4 closing"
    for each in found[:4]:
        assert each
        table.remove(each)
    assert connect("z") is not None


def test_a_connection_is_closed_at_its_deadline(
    table: ConnectionTable, connect: Connect, clock: Clock
) -> None:
    first, second = connect("a"), connect("a")
    assert first and second
    clock.now = 4.0
    table.extend(second, 5.0)
    clock.now = 6.0
    table.close_expired()
    assert not table.is_open(first)
    assert table.is_open(second)
    clock.now = 10.0
    table.close_expired()
    assert len(table) == 0


def test_closing_a_connection_that_has_ended_is_harmless(
    table: ConnectionTable, connect: Connect
) -> None:
    first = connect("a")
    assert first
    first.socket.close()
    table.close_all()
    table.close_expired()
    table.remove(first)
    assert len(table) == 0
