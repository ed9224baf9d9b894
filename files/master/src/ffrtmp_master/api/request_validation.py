"""Checks of request bodies and query parameters that precede the call of each handler."""

from http import HTTPStatus

from litestar.exceptions import ClientException, HTTPException
from litestar.params import QueryParameter

from ffrtmp_master.auth.authentication import Call

JSON = "application/json"

MAX_BODY_BYTES = 8 * 1024 * 1024
"""The maximum size of a JSON body, for example of a suite."""

MAX_AGENT_BODY_BYTES = 4 * 1024 * 1024
"""The maximum size of a body that agents send."""


def check_json(content_type: str) -> None:
    """Raise HTTPException (415) if a content type is neither JSON nor empty."""
    if content_type and content_type.partition(";")[0].strip().lower() != JSON:
        raise HTTPException(
            f"the body must be {JSON}, not {content_type}",
            status_code=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )


async def check(request: Call) -> None:
    """Check a request against the signature of its handler.

    Litestar calls this function before each handler. Unknown query parameters are rejected, because
    ignoring a misspelled filter would return unfiltered data. Raises HTTPException if the media
    type or a query parameter is not valid.
    """
    parameters = request.route_handler.parsed_fn_signature.parameters
    if "data" in parameters:
        check_json(request.headers.get("content-type", ""))
    if request.query_params:
        known = {
            field.kwarg_definition.name or name
            for name, field in parameters.items()
            if isinstance(field.kwarg_definition, QueryParameter)
        }
        unknown = sorted(set(request.query_params) - known)
        if unknown:
            errors = [{"key": name, "message": "unknown query parameter"} for name in unknown]
            raise ClientException("the request has unknown query parameters", extra=errors)
