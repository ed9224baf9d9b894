"""What masters that share a database tell each other after a commit."""

from collections.abc import Mapping

import msgspec

# PostgreSQL takes less than 8,000 bytes; what is longer is said in a word.
_LONGEST_BYTES = 7000


class Notification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """New work by set of requirements, and nodes that are free; `much` when it is too much.

    `origin` is the master that says it, which has no need to hear it.
    """

    origin: str
    queued: Mapping[int, int] = {}
    freed: tuple[str, ...] = ()
    much: bool = False

    def as_text(self) -> str:
        """Write it in as many bytes as a notification may have."""
        text = msgspec.json.encode(self)
        if len(text) > _LONGEST_BYTES:
            text = msgspec.json.encode(Notification(origin=self.origin, much=True))
        return text.decode()

    @classmethod
    def from_text(cls, text: str) -> "Notification":
        """Read what another master wrote."""
        return msgspec.json.decode(text, type=cls)
