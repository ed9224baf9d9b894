"""Tests of epochs and cursors: what is read again after the database was replaced by a copy."""

from collections.abc import Sequence

import pytest
from ffrtmp_master.store.epochs import History, Mark, _Epoch, parse_cursor
from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.positions import START, Position
from hypothesis import given, settings
from hypothesis import strategies as st


def at(number: int) -> Position:
    return Position(0, number)


def history(*epochs: tuple[str, int]) -> History:
    """Return the history of epochs, oldest first, each with the number of its last earlier row.

    The tokens are hexadecimal numbers, or begin with the letter r.
    """
    return History(
        tuple(
            _Epoch(token if token[0] == "r" else token.zfill(8), START if last < 0 else at(last))
            for token, last in reversed(epochs)
        )
    )


ORIGINAL = history(("a", -1), ("b", 10), ("c", 20))


def resumed(database: History, cursor: str) -> Position:
    return database.position_of(parse_cursor(cursor))


def test_a_cursor_of_the_same_history_is_exact() -> None:
    for number in (1, 10, 15, 25):
        assert resumed(ORIGINAL, ORIGINAL.cursor_at(at(number))) == at(number)


def test_a_cursor_of_an_older_copy_continues_after_the_last_common_row() -> None:
    copy_from_b = history(("a", -1), ("b", 10), ("d", 17))
    for number, wanted in ((5, 5), (15, 15), (17, 17), (19, 17), (25, 17)):
        assert resumed(copy_from_b, ORIGINAL.cursor_at(at(number))) == at(wanted)
    # The same copy was restored again. Only the rows of the common history count as read.
    again = history(("a", -1), ("b", 10), ("e", 17))
    assert resumed(again, copy_from_b.cursor_at(at(30))) == at(17)
    assert resumed(ORIGINAL, copy_from_b.cursor_at(at(30))) == at(17)


def test_a_cursor_of_another_database_stands_for_the_beginning() -> None:
    assert resumed(history(("f", -1)), ORIGINAL.cursor_at(at(25))) == START
    assert resumed(ORIGINAL, "") == START


def test_a_cursor_of_a_release_without_epochs_is_valid_up_to_the_first_recorded_epoch() -> None:
    database = history(("r0123", -1), ("b", 10))
    assert resumed(database, "0.7") == at(7)
    assert resumed(database, "0.12") == at(10)
    assert resumed(history(), history().cursor_at(at(7))) == at(7)
    # This database never was in the form of such a release.
    assert resumed(ORIGINAL, "0.7") == START


@pytest.mark.parametrize(
    "cursor",
    ["x", "1", "1.", "1.2.3", "1.2.3.4", "a.b.1", "0.99999999999999999999", "00000000.1.2-"],
)
def test_other_texts_are_no_cursors(cursor: str) -> None:
    with pytest.raises(UnprocessableError, match="is not a cursor"):
        parse_cursor(cursor)


def test_a_cursor_names_a_limited_number_of_epochs() -> None:
    many = history(*((f"{number:08x}", number - 1) for number in range(90)))
    cursor = many.cursor_at(at(1000))
    assert len(cursor) <= 512
    assert len(parse_cursor(cursor)) == 8
    assert isinstance(parse_cursor(cursor)[0], Mark)


class Database:
    """A database of which copies are made and restored. Its rows are unique numbers."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.epochs: list[tuple[str, int]] = []

    def copied(self) -> "Database":
        copy = Database()
        copy.rows, copy.epochs = list(self.rows), list(self.epochs)
        return copy

    @property
    def history(self) -> History:
        return history(*self.epochs)


@given(
    st.lists(
        st.sampled_from(["store", "store", "read", "read", "copy", "restore", "restart"]),
        max_size=25,
    )
)
@settings(max_examples=150)
def test_a_reader_gets_each_row_once_whatever_is_restored(steps: Sequence[str]) -> None:
    database, copy = Database(), Database()
    database.epochs.append(("0", -1))
    copy = database.copied()
    cursor, received, stored, started = "", [], 0, 0
    for step in steps:
        match step:
            case "store":
                stored += 1
                database.rows.append(stored)
            case "read":
                position = database.history.position_of(parse_cursor(cursor))
                first = 0 if position == START else position.sequence + 1
                received += database.rows[first:]
                if database.rows:
                    cursor = database.history.cursor_at(at(len(database.rows) - 1))
            case "copy":
                copy = database.copied()
            case _:
                if step == "restore":
                    database = copy.copied()
                started += 1
                database.epochs.append((f"{started}", len(database.rows) - 1))
    position = database.history.position_of(parse_cursor(cursor))
    received += database.rows[0 if position == START else position.sequence + 1 :]
    assert set(database.rows) <= set(received), "no row is missed"
    if started < 8:
        assert len(received) == len(set(received)), "no row is received twice"
