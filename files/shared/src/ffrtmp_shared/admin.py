"""The wire's types of who may come in, and of what was done to the farm."""

from enum import StrEnum
from typing import Any

import msgspec

from ffrtmp_shared.constrained_types import Moment, Name
from ffrtmp_shared.models import Role


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made. The role agent needs a node, and no other role has one."""

    name: Name
    role: Role
    node: Name | None = None
    expires_at: Moment | None = None


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a token; the token itself is not kept.

    A token with `is_provisioned` is declared in the credentials file and changed there; its
    `created_by` is null.
    `last_used_at` is exact to a minute.
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
    """A token that was made now. `token` is shown this once and cannot be had again."""

    name: str
    role: Role
    node: str | None
    expires_at: Moment | None
    created_at: Moment
    created_by: str
    token: str


class AuditAction(StrEnum):
    """What somebody did to the farm, as the audit log names it."""

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


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One deed: who did what to which thing, and when."""

    id: int
    at: Moment
    actor: str
    action: AuditAction
    target: str
    details: dict[str, Any]


class TokenPage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens, by name."""

    items: tuple[Token, ...]
    next_cursor: str | None


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Deeds, newest first."""

    items: tuple[AuditEntry, ...]
    next_cursor: str | None
