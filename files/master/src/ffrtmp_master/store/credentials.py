"""Who holds which token; the tokens themselves are not kept."""

from collections.abc import Sequence

import msgspec
from ffrtmp_shared.models import Name, Role, Sha256
from sqlalchemy import Connection, Row, delete, insert, select

from ffrtmp_master.store.schema import credentials


class Credential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named holder of a token. An agent's is bound to its node."""

    name: Name
    role: Role
    sha256: Sha256
    node: Name | None = None

    def __post_init__(self) -> None:
        """Refuse an agent without a node, and a node for anybody else."""
        if (self.role is Role.AGENT) != (self.node is not None):
            raise ValueError(f"{self.name}: the role agent needs a node, and no other role has one")


class CredentialFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All credentials of a farm, as its operator lists them."""

    credentials: tuple[Credential, ...]

    def __post_init__(self) -> None:
        """Refuse a name or a token that stands twice."""
        for key in ("name", "sha256"):
            values = [getattr(credential, key) for credential in self.credentials]
            if len(set(values)) != len(values):
                raise ValueError(f"two credentials have the same {key}")


def holder(connection: Connection, sha256: str) -> Credential | None:
    """Return the credential whose token has this digest."""
    row = connection.execute(select(credentials).where(credentials.c.sha256 == sha256)).first()
    return None if row is None else _credential(row)


def make_exactly(connection: Connection, wanted: Sequence[Credential]) -> bool:
    """Make the listed credentials exactly `wanted`; return whether that changed anything.

    Tokens that were made over the API stay.
    """
    listed = select(credentials).where(credentials.c.is_listed)
    present = {_credential(row) for row in connection.execute(listed)}
    if present == set(wanted):
        return False
    gone = present - set(wanted)
    names = [item.name for item in gone]
    connection.execute(delete(credentials).where(credentials.c.name.in_(names)))
    added = set(wanted) - present
    if added:
        connection.execute(
            insert(credentials),
            [{**msgspec.to_builtins(item), "is_listed": True} for item in added],
        )
    return True


def _credential(row: Row[tuple[object, ...]]) -> Credential:
    return Credential(name=row.name, role=Role(row.role), sha256=row.sha256, node=row.node)
