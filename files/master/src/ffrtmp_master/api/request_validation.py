"""Checks of request bodies and query parameters that precede the call of each handler."""

from http import HTTPStatus

from ffrtmp_shared import value_rules
from litestar.exceptions import ClientException, HTTPException
from litestar.params import QueryParameter

from ffrtmp_master.api.uploads import announced_bytes
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.services import Services

JSON = "application/json"

GROWING = {"is_growing": True}
"""The option `opt` of routes that store data which is not needed to end a running job."""

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
    ignoring a misspelled filter would return unfiltered data.

    Raises:
        HTTPException: The media type or a query parameter is not valid.
        TextFaultError: The body contains text that is not accepted.
        InsufficientSpaceError: The request stores data, and the remaining space is reserved.
    """
    if request.route_handler.opt.get("is_growing"):
        services: Services = request.app.state.services
        await services.space.check(announced_bytes(request))
    parameters = request.route_handler.parsed_fn_signature.parameters
    if "data" in parameters:
        check_json(request.headers.get("content-type", ""))
        value_rules.check_json_texts(await request.body())
    if request.query_params:
        known = {
            field.kwarg_definition.name or name
            for name, field in parameters.items()
            if isinstance(field.kwarg_definition, QueryParameter)
        }
        unknown = sorted(set(request.query_params) - known)
        if unknown:
            allowed = f"allowed are {', '.join(sorted(known))}" if known else "there are none here"
            message = f"unknown query parameter; {allowed}"
            errors = [{"key": name, "message": message} for name in unknown]
            raise ClientException("the request has unknown query parameters", extra=errors)
