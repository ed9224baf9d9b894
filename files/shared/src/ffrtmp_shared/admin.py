"""Wire types of the administrative API: access tokens and the audit log."""

from enum import StrEnum
from typing import Any

import msgspec

from ffrtmp_shared.constrained_types import Moment, Name
from ffrtmp_shared.models import Role


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for a new token. The role agent requires `node`; other roles do not allow it."""

    name: Name
    role: Role
    node: Name | None = None
    expires_at: Moment | None = None


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """Metadata of a token. The token itself is not stored.

    If `is_provisioned` is true, the token comes from the operator's credentials file and can only
    be changed there, and `created_by` is null. `last_used_at` has a resolution of one minute.
    """

    name: str
    role: Role
    node: str | None
    expires_at: Moment | None
    created_at: Moment | None
    created_by: str | None
    last_used_at: Moment | None
    is_provisioned: bool


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token. `token` is returned only in this response and cannot be retrieved later."""

    name: str
    role: Role
    node: str | None
    expires_at: Moment | None
    created_at: Moment
    created_by: str
    token: str


class AuditAction(StrEnum):
    """Actions that the audit log records."""

    CREDENTIAL_CREATED = "token created"
    CREDENTIAL_REVOKED = "token revoked"
    CREDENTIALS_SYNCHRONIZED = "tokens synchronized"
    NODE_CHANGED = "node changed"
    NODE_REMOVED = "node removed"
    RUN_CREATED = "run created"
    RUN_CANCELED = "run canceled"
    RUN_RETRIED = "run retried"
    JOB_CANCELED = "job canceled"
    JOB_RETRIED = "job retried"
    JOB_CHANGED = "job changed"
    SOURCE_REMOVED = "source removed"


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the audit log: the user, the action, its target and its time."""

    id: int
    at: Moment
    actor: str
    action: AuditAction
    target: str
    details: dict[str, Any]


class TokenPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of tokens, in the order of their names."""

    items: tuple[Token, ...]
    next_cursor: str | None


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of audit log entries, newest first."""

    items: tuple[AuditEntry, ...]
    next_cursor: str | None
