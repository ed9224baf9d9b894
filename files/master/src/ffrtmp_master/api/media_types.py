"""What kind of body is taken where JSON is wanted."""

from http import HTTPStatus

from litestar.exceptions import HTTPException

from ffrtmp_master.access import Call

JSON = "application/json"


def check_json(content_type: str) -> None:
    """Raise 415 when a body says that it is no JSON; one that says nothing is taken for it."""
    if content_type and content_type.partition(";")[0].strip().lower() != JSON:
        raise HTTPException(
            f"the body is to be {JSON}, not {content_type}",
            status_code=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )


async def check_body(request: Call) -> None:
    """Do the same for a call whose handler takes JSON; Litestar runs this before each handler."""
    if "data" in request.route_handler.parsed_fn_signature.parameters:
        check_json(request.headers.get("content-type", ""))
