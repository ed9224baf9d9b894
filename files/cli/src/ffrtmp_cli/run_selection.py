"""Selection of a run by its id, by the end of its id, or as the last one."""

import re

from ffrtmp_client.api import Json, Master

from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.name_rules import is_id

LAST = "last"
"""The word that selects the newest run."""

_ENDING = re.compile(r"[0-9a-f-]{4,36}")


def select_run(master: Master, text: str) -> Json:
    """Return a run as the API returns it.

    Args:
        master: Connection to the master.
        text: The id of the run, at least the last four characters of the id, or `last`.

    Raises:
        CommandError: There is no such run, or there are several.
        ApiError: The master did not return it.
    """
    if is_id(text):
        run: Json = master.get(f"/v1/runs/{text}")
        return run
    if text == LAST:
        newest = master.get("/v1/runs", {"limit": "1"})["items"]
        if not newest:
            raise CommandError(
                "the farm has no runs. Queue one: ffrtmp run SUITE", ExitCode.NOT_FOUND
            )
        return dict(newest[0])
    if not _ENDING.fullmatch(text):
        raise CommandError(
            f"{text[:80]!r} is not a run. Use {LAST}, the id of a run or at least the last four "
            "characters of the id: ffrtmp runs",
            ExitCode.USAGE,
        )
    found = [run for run in master.pages("/v1/runs", {"limit": "1000"}) if run["id"].endswith(text)]
    if len(found) != 1:
        reason = "no run has" if not found else f"{len(found)} runs have"
        raise CommandError(
            f"{reason} an id that ends with {text}. List the runs with their ids: ffrtmp runs",
            ExitCode.NOT_FOUND,
        )
    return found[0]
