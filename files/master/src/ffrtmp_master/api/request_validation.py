"""What is refused of a call before it is looked at: other kinds of body, unknown parameters."""

from http import HTTPStatus

from litestar.exceptions import ClientException, HTTPException
from litestar.params import QueryParameter

from ffrtmp_master.auth.authentication import Call

JSON = "application/json"


def check_json(content_type: str) -> None:
    """Raise 415 when a body says that it is no JSON; one that says nothing is taken for it."""
    if content_type and content_type.partition(";")[0].strip().lower() != JSON:
        raise HTTPException(
            f"the body is to be {JSON}, not {content_type}",
            status_code=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )


async def check(request: Call) -> None:
    """Refuse what the handler of a call does not take; Litestar runs this before each handler.

    A filter that is misspelt must not be a filter that is not there.
    """
    taken = request.route_handler.parsed_fn_signature.parameters
    if "data" in taken:
        check_json(request.headers.get("content-type", ""))
    if request.query_params:
        known = {
            field.kwarg_definition.name or name
            for name, field in taken.items()
            if isinstance(field.kwarg_definition, QueryParameter)
        }
        unknown = sorted(set(request.query_params) - known)
        if unknown:
            wrong = [{"key": name, "message": "there is no such parameter"} for name in unknown]
            raise ClientException("the call has parameters that are not known", extra=wrong)
