"""Credentials: the holders of tokens. Only digests of the tokens are stored."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from ffrtmp_shared.admin import Token, TokenPage
from ffrtmp_shared.constrained_types import Moment, Name, Sha256
from ffrtmp_shared.models import Role
from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from ffrtmp_master.store.errors import ConflictError, NotFoundError
from ffrtmp_master.store.schema import credentials
from ffrtmp_master.store.upserts import insert_into


class Credential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named holder of a token, which may expire. Credentials of agents are bound to a node."""

    name: Name
    role: Role
    sha256: Sha256
    node: Name | None = None
    expires_at: Moment | None = None

    def __post_init__(self) -> None:
        """Check that credentials of agents, and no others, have a node. Raises ValueError."""
        if (self.role is Role.AGENT) != (self.node is not None):
            raise ValueError(f"{self.name}: the role agent needs a node, and no other role has one")


class CredentialFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the credentials file, in which the operator lists credentials."""

    credentials: tuple[Credential, ...]

    def __post_init__(self) -> None:
        """Check that names and tokens are unique. Raises ValueError."""
        for key in ("name", "sha256"):
            values = [getattr(credential, key) for credential in self.credentials]
            if len(set(values)) != len(values):
                raise ValueError(f"two credentials have the same {key}")


def find_by_digest(connection: Connection, sha256: str) -> Credential | None:
    """Return the credential whose token has this digest, or None."""
    row = connection.execute(select(credentials).where(credentials.c.sha256 == sha256)).first()
    return None if row is None else _credential(row)


def find_by_digests(connection: Connection, digests: Collection[str]) -> dict[str, Credential]:
    """Return the credentials whose tokens have these digests, by digest."""
    rows = connection.execute(select(credentials).where(credentials.c.sha256.in_(list(digests))))
    return {row.sha256: _credential(row) for row in rows}


def add_token(connection: Connection, credential: Credential, by: str, now: datetime) -> None:
    """Store a credential that is created over the API.

    Args:
        connection: A connection with an open transaction.
        credential: The credential.
        by: The name of the operator.
        now: The current time.

    Raises:
        ConflictError: A credential with that name exists.
    """
    added = connection.execute(
        insert_into(connection, credentials)
        .values(
            **msgspec.structs.asdict(credential), is_listed=False, created_at=now, created_by=by
        )
        .on_conflict_do_nothing(index_elements=[credentials.c.name])
        .returning(credentials.c.name)
    ).first()
    if added is None:
        raise ConflictError(f"the token {credential.name} already exists; revoke it first")


def remove_token(connection: Connection, name: str) -> Token:
    """Remove a credential that was created over the API and return it.

    Raises NotFoundError, or ConflictError if the credentials file lists it.
    """
    row = connection.execute(select(credentials).where(credentials.c.name == name)).first()
    if row is None:
        raise NotFoundError(f"there is no token {name}")
    if row.is_listed:
        raise ConflictError(
            f"the credentials file lists the token {name}; remove it from the file and synchronize"
        )
    connection.execute(delete(credentials).where(credentials.c.name == name))
    return _token(row)


def get_token(connection: Connection, name: str) -> Token:
    """Return the description of a token. Raises NotFoundError."""
    row = connection.execute(select(credentials).where(credentials.c.name == name)).first()
    if row is None:
        raise NotFoundError(f"there is no token {name}")
    return _token(row)


def page_of_tokens(connection: Connection, after: str, limit: int) -> TokenPage:
    """Return a page of tokens in the order of their names.

    Args:
        connection: A connection to the database.
        after: The name after which the page begins.
        limit: The maximum number of tokens.

    Returns:
        The page.
    """
    rows = connection.execute(
        select(credentials)
        .where(credentials.c.name > after)
        .order_by(credentials.c.name)
        .limit(limit + 1)
    ).all()
    items = tuple(_token(row) for row in rows[:limit])
    return TokenPage(items=items, next_cursor=items[-1].name if len(rows) > limit else None)


def record_use(connection: Connection, names: Sequence[str], now: datetime) -> None:
    """Record that tokens were used.

    Args:
        connection: A connection with an open transaction.
        names: The names of the credentials.
        now: The current time.
    """
    # Rows are locked in a fixed order and rows that are already locked are skipped, so that masters
    # that update the same rows at the same time do not deadlock.
    outdated = (
        select(credentials.c.name)
        .where(
            credentials.c.name.in_(names),
            or_(credentials.c.last_used_at.is_(None), credentials.c.last_used_at < now),
        )
        .order_by(credentials.c.name)
        .with_for_update(skip_locked=True)
    )
    connection.execute(
        update(credentials).where(credentials.c.name.in_(outdated)).values(last_used_at=now)
    )


@dataclass(frozen=True)
class SyncResult:
    """The names of the credentials that a synchronization with the credentials file changed."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def is_changed(self) -> bool:
        """Return whether any credential was added, changed or removed."""
        return bool(self.added or self.changed or self.removed)


def sync(
    connection: Connection, wanted: Sequence[Credential], now: datetime | None = None
) -> SyncResult:
    """Make the stored credentials match the credentials file.

    Credentials that were created over the API are kept.

    Args:
        connection: A connection with an open transaction.
        wanted: The credentials of the file.
        now: The creation time of new credentials.

    Returns:
        The changes.

    Raises:
        ConflictError: A credential of the file has the name or the token of one that was created
            over the API.
    """
    rows = connection.execute(select(credentials)).all()
    present = {row.name: _credential(row) for row in rows if row.is_listed}
    wanted_by_name = {item.name: item for item in wanted}
    _check_others([row for row in rows if not row.is_listed], wanted)
    different = [item for item in wanted if present.get(item.name) != item]
    removed = [name for name in present if name not in wanted_by_name]
    replaced = [item.name for item in different if item.name in present]
    if removed or replaced:
        connection.execute(delete(credentials).where(credentials.c.name.in_([*removed, *replaced])))
    if different:
        connection.execute(
            insert(credentials),
            [
                {**msgspec.structs.asdict(item), "is_listed": True, "created_at": now}
                for item in different
            ],
        )
    return SyncResult(
        added=tuple(sorted(item.name for item in different if item.name not in present)),
        changed=tuple(sorted(replaced)),
        removed=tuple(sorted(removed)),
    )


def _check_others(others: Sequence[Row[tuple[object, ...]]], wanted: Sequence[Credential]) -> None:
    names, digests = {item.name for item in wanted}, {item.sha256 for item in wanted}
    for row in others:
        if row.name in names or row.sha256 in digests:
            raise ConflictError(
                f"the token {row.name} was created over the API, and the credentials file lists it "
                "as well; revoke it first, or remove it from the file"
            )


def _credential(row: Row[tuple[object, ...]]) -> Credential:
    return Credential(
        name=row.name,
        role=Role(row.role),
        sha256=row.sha256,
        node=row.node,
        expires_at=row.expires_at,
    )


def _token(row: Row[tuple[object, ...]]) -> Token:
    return Token(
        name=row.name,
        role=Role(row.role),
        node=row.node,
        expires_at=row.expires_at,
        created_at=row.created_at,
        created_by=row.created_by,
        last_used_at=row.last_used_at,
        is_provisioned=row.is_listed,
    )
