"""Names that the API accepts in paths, which are checked before a request is sent."""

import re
from uuid import UUID

from ffrtmp_client.value_rules import NAME, RULES

from ffrtmp_cli.errors import CommandError, ExitCode


def is_name(text: str) -> bool:
    """Return whether a text is a name of a node, token or profile."""
    return re.search(NAME, text) is not None


def check_name(kind: str, text: str) -> str:
    """Return the name. Raises CommandError if a `kind`, such as `node`, cannot have it."""
    if not is_name(text):
        raise CommandError(
            f"{text[:80]!r} is not the name of a {kind}, which has {RULES[NAME]}", ExitCode.USAGE
        )
    return text


def check_job_id(text: str) -> str:
    """Return the id of a job. Raises CommandError if it is not one."""
    if not is_id(text):
        raise CommandError(
            f"{text[:80]!r} is not the id of a job. List the jobs of a run with their ids: "
            "ffrtmp jobs RUN",
            ExitCode.USAGE,
        )
    return text.lower()


def is_id(text: str) -> bool:
    """Return whether a text is the id of a run or a job, with hyphens."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
