"""The root of the API, which leads to its description."""

from typing import Any

import ffrtmp_shared
from litestar import get

from ffrtmp_master.auth.authentication import OPEN


@get("/", opt=OPEN, security=[])
async def index() -> dict[str, str]:
    """Name the description of the API, for people who open the address of the master."""
    return {
        "name": "ffmpeg-rtmp master",
        "version": ffrtmp_shared.__version__,
        "openapi": "/schema/openapi.json",
        "reference": "/schema",
        "documentation": "docs/api.md in the repository of the farm",
    }


ROUTES: tuple[Any, ...] = (index,)
