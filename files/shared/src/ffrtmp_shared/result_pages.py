"""Pages of results, of which each result is decoded separately.

A result that this release cannot decode, for example one of a newer agent, does not keep the others
from being read.
"""

import hashlib
from typing import NamedTuple
from uuid import UUID

import msgspec

from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.models import Result, ResultPage


class RawResultPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of results that are not decoded yet."""

    items: tuple[msgspec.Raw, ...]
    next_cursor: str | None
    epoch: str = ""
    drifts: int = 0


class UnreadableResult(NamedTuple):
    """A result that this release cannot decode.

    `key` is its id, or its digest if it has no id. `node` is empty if it is not known.
    """

    key: str
    node: str


class ReadablePage(ResultPage, frozen=True, kw_only=True):
    """A page of results, and what is known of those on it that cannot be decoded."""

    unreadable: tuple[UnreadableResult, ...] = ()


class _Identity(msgspec.Struct):
    id: UUID
    node: str = ""


def readable_page(page: RawResultPage, guard: ItemGuard) -> ReadablePage:
    """Return the results of a page, separated into those that can be decoded and the others.

    Args:
        page: The page.
        guard: The guard that reports results that cannot be decoded, by their ids.
    """
    results: list[Result] = []
    unreadable: list[UnreadableResult] = []
    for raw in page.items:
        known = _identity_of(raw)

        def decode(raw: msgspec.Raw = raw) -> None:
            results.append(msgspec.json.decode(raw, type=Result))

        if not guard.run(f"result {known.key}", decode):
            unreadable.append(known)
    return ReadablePage(
        items=tuple(results),
        next_cursor=page.next_cursor,
        epoch=page.epoch,
        drifts=page.drifts,
        unreadable=tuple(unreadable),
    )


def _identity_of(raw: msgspec.Raw) -> UnreadableResult:
    try:
        found = msgspec.json.decode(raw, type=_Identity)
    except msgspec.DecodeError:
        digest = hashlib.sha256(raw).hexdigest()
        return UnreadableResult(f"without an id, with the SHA-256 digest {digest}", "")
    return UnreadableResult(str(found.id), found.node)
