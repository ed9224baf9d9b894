"""Tokens: creation, listing and revocation."""

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
from ffrtmp_master.api.request_validation import GROWING
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.services import Services
from ffrtmp_master.store import audit, credentials
from ffrtmp_master.store.credentials import Credential
from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.unit_of_work import UnitOfWork

InjectedServices = NamedDependency[SkipValidation[Services]]


@post(
    "/v1/tokens",
    guards=[require_role(*permissions.CREATE_TOKEN)],
    responses=problems.document_problems(HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
    opt=GROWING,
)
async def create_token(
    request: Call, data: JSONBody[TokenRequest], services: InjectedServices
) -> Response[NewToken]:
    """Create a token. Only the response to this request contains its secret."""
    token, by = new_token(), request.user.name
    credential = _credential(data, token)

    def create(work: UnitOfWork) -> datetime:
        _check_expiry(data, work.now)
        credentials.add_token(work.connection, credential, by, work.now)
        details = {
            "role": credential.role,
            "node": credential.node,
            "expires_at": credential.expires_at,
        }
        audit.record(
            work.connection,
            work.now,
            by,
            AuditAction.CREDENTIAL_CREATED,
            credential.name,
            **details,
        )
        return work.now

    created_at = await services.writer.write(create)
    response = NewToken(
        name=credential.name,
        role=credential.role,
        node=credential.node,
        expires_at=credential.expires_at,
        created_at=created_at,
        created_by=by,
        token=token,
    )
    # The response contains a secret, so proxies must not cache it.
    headers = {"Location": f"/v1/tokens/{credential.name}", "Cache-Control": "no-store"}
    return Response(response, headers=headers)


@get(
    "/v1/tokens",
    guards=[require_role(*permissions.LIST_TOKENS)],
    responses=problems.document_problems(),
)
async def list_tokens(
    services: InjectedServices, cursor: Cursor = "", limit: Limit = PAGE
) -> TokenPage:
    """List tokens, sorted by name, without their secrets."""
    return await services.reader.read(lambda c: credentials.page_of_tokens(c, cursor, limit))


@get(
    "/v1/tokens/{name:str}",
    guards=[require_role(*permissions.GET_TOKEN)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND),
)
async def get_token(name: NamePart, services: InjectedServices) -> Token:
    """Return a token without its secret."""
    return await services.reader.read(lambda c: credentials.get_token(c, name))


@delete(
    "/v1/tokens/{name:str}",
    guards=[require_role(*permissions.REVOKE_TOKEN)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def revoke_token(request: Call, name: NamePart, services: InjectedServices) -> None:
    """Revoke a token immediately.

    If the token is listed in the credentials file, the response is 409.
    """
    by = request.user.name

    def revoke(work: UnitOfWork) -> None:
        removed = credentials.remove_token(work.connection, name)
        details = {"role": removed.role, "node": removed.node}
        audit.record(work.connection, work.now, by, AuditAction.CREDENTIAL_REVOKED, name, **details)

    await services.writer.write(revoke)
    services.authenticator.evict_all()


def _credential(request: TokenRequest, token: str) -> Credential:
    if (request.role is Role.AGENT) != (request.node is not None):
        raise UnprocessableError(
            "node is required for the role agent and not allowed for other roles"
        )
    return Credential(
        name=request.name,
        role=request.role,
        sha256=token_sha256(token),
        node=request.node,
        expires_at=request.expires_at,
    )


def _check_expiry(request: TokenRequest, now: datetime) -> None:
    """Reject an expiration time that has passed or that is out of range in UTC."""
    if request.expires_at is None:
        return
    try:
        expires_at = request.expires_at.astimezone(UTC)
    except OverflowError as error:
        raise UnprocessableError("expires_at: the time is out of range in UTC") from error
    if expires_at <= now:
        raise UnprocessableError("expires_at: the time has already passed")


ROUTES: tuple[Any, ...] = (create_token, list_tokens, get_token, revoke_token)
