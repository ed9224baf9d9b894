"""Notifications between masters that share a database, sent after a commit."""

from collections.abc import Mapping

import msgspec

# PostgreSQL limits the payload of a notification to less than 8,000 bytes. A longer payload is
# replaced with one that contains only `much`.
_MAX_BYTES = 7000


class Notification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A notification of newly queued jobs and freed nodes.

    Attributes:
        origin: The name of the master that sent the notification, which ignores it itself.
        queued: The number of newly queued jobs of each requirement set, by the id of the set.
        freed: The names of the nodes on which a job ended.
        much: Whether `queued` and `freed` are left out because they would be too long.
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
        """Decode a notification from another master."""
        return msgspec.json.decode(text, type=cls)
