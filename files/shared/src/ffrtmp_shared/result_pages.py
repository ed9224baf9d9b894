"""Pages of results, of which each result is decoded separately.

A result that this release cannot decode, for example one of a newer agent, does not keep the others
from being read.
"""

from uuid import UUID

import msgspec

from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.models import Result, ResultPage


class RawResultPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of results that are not decoded yet."""

    items: tuple[msgspec.Raw, ...]
    next_cursor: str | None
    epoch: str = ""


class _Identity(msgspec.Struct):
    id: UUID


def readable_page(page: RawResultPage, guard: ItemGuard) -> ResultPage:
    """Return the results of a page that can be decoded.

    Args:
        page: The page.
        guard: The guard that reports the others, by their ids.
    """
    results: list[Result] = []
    for raw in page.items:

        def decode(raw: msgspec.Raw = raw) -> None:
            results.append(msgspec.json.decode(raw, type=Result))

        guard.run(f"result {_id_of(raw)}", decode)
    return ResultPage(items=tuple(results), next_cursor=page.next_cursor, epoch=page.epoch)


def _id_of(raw: msgspec.Raw) -> str:
    try:
        return str(msgspec.json.decode(raw, type=_Identity).id)
    except msgspec.DecodeError:
        return "without an id"
