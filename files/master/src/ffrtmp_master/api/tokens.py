"""Tokens: making, listing, revoking."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from ffrtmp_shared.admin import AuditAction, NewToken, Token, TokenPage, TokenRequest
from ffrtmp_shared.credentials import new_token, token_sha256
from ffrtmp_shared.models import Role
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from ffrtmp_master.api import problems
from ffrtmp_master.api.pagination import PAGE, Cursor, Limit
from ffrtmp_master.api.path_params import NamePart
from ffrtmp_master.auth.authentication import Call, require_role
from ffrtmp_master.services import Services
from ffrtmp_master.store import audit, credentials
from ffrtmp_master.store.credentials import Credential
from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.unit_of_work import UnitOfWork

InjectedServices = NamedDependency[SkipValidation[Services]]


@post(
    "/v1/tokens",
    guards=[require_role(Role.ADMIN)],
    responses=problems.document_problems(HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def create_token(
    request: Call, data: JSONBody[TokenRequest], services: InjectedServices
) -> Response[NewToken]:
    """Make a token. It is shown in this answer and never again."""
    token, by = new_token(), request.user.name
    made = _credential(data, token)

    def make(work: UnitOfWork) -> datetime:
        _check_expiry(data, work.now)
        credentials.add_token(work.connection, made, by, work.now)
        details = {"role": made.role, "node": made.node, "expires_at": made.expires_at}
        audit.record(
            work.connection, work.now, by, AuditAction.CREDENTIAL_CREATED, made.name, **details
        )
        return work.now

    created_at = await services.writer.write(make)
    shown = NewToken(
        name=made.name,
        role=made.role,
        node=made.node,
        expires_at=made.expires_at,
        created_at=created_at,
        created_by=by,
        token=token,
    )
    # What lies between may keep answers; this one must not be.
    headers = {"Location": f"/v1/tokens/{made.name}", "Cache-Control": "no-store"}
    return Response(shown, headers=headers)


@get(
    "/v1/tokens",
    guards=[require_role(Role.ADMIN)],
    responses=problems.document_problems(),
)
async def list_tokens(
    services: InjectedServices, cursor: Cursor = "", limit: Limit = PAGE
) -> TokenPage:
    """List tokens by name: who holds them, never what they are."""
    return await services.reader.read(lambda c: credentials.page_of_tokens(c, cursor, limit))


@get(
    "/v1/tokens/{name:str}",
    guards=[require_role(Role.ADMIN)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND),
)
async def get_token(name: NamePart, services: InjectedServices) -> Token:
    """Return what is known of a token, never what it is."""
    return await services.reader.read(lambda c: credentials.get_token(c, name))


@delete(
    "/v1/tokens/{name:str}",
    guards=[require_role(Role.ADMIN)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def revoke_token(request: Call, name: NamePart, services: InjectedServices) -> None:
    """Revoke a token at once; 409 for one that the operator's file lists."""
    by = request.user.name

    def revoke(work: UnitOfWork) -> None:
        gone = credentials.remove_token(work.connection, name)
        details = {"role": gone.role, "node": gone.node}
        audit.record(work.connection, work.now, by, AuditAction.CREDENTIAL_REVOKED, name, **details)

    await services.writer.write(revoke)
    services.authenticator.evict_all()


def _credential(asked: TokenRequest, token: str) -> Credential:
    if (asked.role is Role.AGENT) != (asked.node is not None):
        raise UnprocessableError("the role agent needs a node, and no other role has one")
    return Credential(
        name=asked.name,
        role=asked.role,
        sha256=token_sha256(token),
        node=asked.node,
        expires_at=asked.expires_at,
    )


def _check_expiry(asked: TokenRequest, now: datetime) -> None:
    """Refuse a token that would be of no use, or an end that no database can hold."""
    if asked.expires_at is None:
        return
    try:
        expires_at = asked.expires_at.astimezone(UTC)
    except OverflowError as error:
        raise UnprocessableError("expires_at: there is no such time in UTC") from error
    if expires_at <= now:
        raise UnprocessableError("expires_at: that is over already")


ROUTES: tuple[Any, ...] = (create_token, list_tokens, get_token, revoke_token)
