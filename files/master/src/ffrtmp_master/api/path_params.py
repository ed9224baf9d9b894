"""Types of path and query parameters, with the patterns that validate them."""

from typing import Annotated, Any

from ffrtmp_shared.constrained_types import FileName, Name, Sha256
from litestar.params import PathParameter, QueryParameter


def _pattern(constrained: Any) -> str:
    """Return the regular expression of a constrained type as a string for Litestar."""
    return str(constrained.__metadata__[0].pattern)


NamePart = Annotated[str, PathParameter(pattern=_pattern(Name))]
NameQuery = Annotated[str | None, QueryParameter(pattern=_pattern(Name))]
FileNamePart = Annotated[str, PathParameter(pattern=_pattern(FileName))]
Sha256Part = Annotated[str, PathParameter(pattern=_pattern(Sha256))]
Sha256Query = Annotated[str | None, QueryParameter(pattern=_pattern(Sha256))]
AttemptPart = Annotated[int, PathParameter(ge=1, le=2**31 - 1)]
AttemptQuery = Annotated[int, QueryParameter(ge=1, le=2**31 - 1)]
