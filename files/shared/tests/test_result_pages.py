"""Pages of results with an item that this release cannot decode."""

import factories
import msgspec
import pytest
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.models import Result
from ffrtmp_shared.result_pages import RawResultPage, UnreadableResult, readable_page


def result() -> bytes:
    document = {
        "id": new_id(),
        "run_id": None,
        "job_id": new_id(),
        "attempt": 1,
        "node": "worker1",
        "repeat": 1,
        "scenario": factories.scenario(),
        "measurement": factories.measurement(),
        "artifacts": [],
        "stored_at": "2026-01-01T00:00:00Z",
    }
    return msgspec.json.encode(document)


def test_an_undecodable_result_does_not_keep_the_others_from_being_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    status = LoopRegistry().add("refresh", stale_after_s=60.0)
    guard = ItemGuard(status)
    good, other, readable = result(), result(), result()
    newer = readable.replace(b'"encode":{', b'"encode":{"speed":"fast",', 1)
    items = [good, newer, b'"not an object"', b"[]", other]
    page = RawResultPage(items=tuple(map(msgspec.Raw, items)), next_cursor="7")
    for _ in range(5):
        found = readable_page(page, guard)
        assert [item.id for item in found.items] == [
            msgspec.json.decode(raw, type=Result).id for raw in (good, other)
        ]
        assert found.next_cursor == "7"
    newer_id = str(msgspec.json.decode(readable, type=Result).id)
    named, *nameless = found.unreadable
    assert named == UnreadableResult(newer_id, "worker1")
    assert len({result.key for result in nameless}) == 2
    assert {result.node for result in nameless} == {""}
    assert f"item result {newer_id} failed" in caplog.text
    assert status.read().items_set_aside == 3


def test_a_readable_page_has_the_epoch_of_the_page() -> None:
    guard = ItemGuard(LoopRegistry().add("refresh", stale_after_s=60.0))
    text = b'{"items": [], "next_cursor": null, "epoch": "before-the-restore"}'
    page = msgspec.json.decode(text, type=RawResultPage)
    assert readable_page(page, guard).epoch == "before-the-restore"
