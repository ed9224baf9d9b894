"""Notifications between masters that share a database, sent after a commit."""

from collections.abc import Mapping

import msgspec

# PostgreSQL limits a payload to less than 8,000 bytes; `much` replaces a longer one.
_MAX_BYTES = 7000


class Notification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The numbers of newly queued jobs by requirement set, and the nodes that were freed.

    `much` is True if the lists would be too long and are left out. `origin` names the master that
    sends the notification and ignores it itself.
    """

    origin: str
    queued: Mapping[int, int] = {}
    freed: tuple[str, ...] = ()
    much: bool = False

    def as_text(self) -> str:
        """Encode the notification within the maximum size of a payload."""
        text = msgspec.json.encode(self)
        if len(text) > _MAX_BYTES:
            text = msgspec.json.encode(Notification(origin=self.origin, much=True))
        return text.decode()

    @classmethod
    def from_text(cls, text: str) -> "Notification":
        """Decode a notification of another master."""
        return msgspec.json.decode(text, type=cls)
