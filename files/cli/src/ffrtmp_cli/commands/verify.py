"""The command `ffrtmp verify`, which checks a bundle or a directory of results."""

from pathlib import Path

import click
import msgspec
from ffrtmp_client.bundle_check import verify
from ffrtmp_client.errors import SettingsError
from ffrtmp_client.phrases import counted

from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.examples import examples
from ffrtmp_cli.output import json_output

_SHOWN_MAX = 50


class FileProblem(msgspec.Struct, frozen=True, kw_only=True):
    """A problem with a file.

    Attributes:
        path: The path of the file.
        kind: `damaged`, `missing` or `additional`.
        reason: What differs.
    """

    path: str
    kind: str
    reason: str


class VerificationDocument(
    msgspec.Struct, tag_field="schema", tag="ffrtmp/verification/1", kw_only=True
):
    """Check of a bundle or of a directory of results.

    Attributes:
        path: The path that was checked.
        is_valid: Whether there are no problems.
        is_bundle: Whether it is a zip file.
        file_count: The number of files whose digests were computed.
        run_id: The id of the run; null without a manifest.
        farm: The name of the farm; null if it is unknown.
        release: The release of ffrtmp that wrote the bundle; null without a manifest.
        schema_version: The version of the manifest; null without one.
        is_complete: Whether the run was complete when it was exported; null without a manifest.
        missing_at_export: The paths of the files that the run already lacked when it was exported.
            They do not count as problems.
        problems: The problems.
    """

    path: str
    is_valid: bool
    is_bundle: bool
    file_count: int
    run_id: str | None
    farm: str | None
    release: str | None
    schema_version: int | None
    is_complete: bool | None
    missing_at_export: tuple[str, ...]
    problems: tuple[FileProblem, ...]


def _failure(document: VerificationDocument) -> str:
    if document.is_valid:
        return ""
    return (
        f"{document.path} has {counted(len(document.problems), 'problem')}. Copy it again, or "
        "export the run again: ffrtmp export RUN"
    )


@click.command("verify", epilog=examples("ffrtmp verify demo-run.zip"))
@click.argument("path", metavar="FILE|DIRECTORY", type=click.Path(path_type=Path))
@json_output(VerificationDocument, _failure)
def command(*, path: Path) -> tuple[VerificationDocument, str]:
    """Check a bundle or a directory of results against its digests and its manifest.

    Each damaged, missing or additional file is named, and the exit code is then 1. The digests show
    accidental changes; they do not prove who has written the file.
    """
    try:
        found = verify(path)
    except SettingsError as error:
        raise CommandError(str(error)) from error
    manifest = found.manifest
    document = VerificationDocument(
        path=str(path),
        is_valid=not found.problems,
        is_bundle=found.is_bundle,
        file_count=found.file_count,
        run_id=None if manifest is None else str(manifest.run["id"]),
        farm=None if manifest is None else manifest.farm,
        release=None if manifest is None else manifest.release,
        schema_version=None if manifest is None else manifest.schema_version,
        is_complete=None if manifest is None else manifest.is_complete,
        missing_at_export=()
        if manifest is None
        else tuple(entry.path for entry in manifest.missing),
        problems=tuple(
            FileProblem(path=problem.path, kind=problem.kind, reason=problem.reason)
            for problem in found.problems
        ),
    )
    is_newer = manifest is not None and manifest.is_newer
    return document, _text(document, is_newer=is_newer)


def _text(document: VerificationDocument, *, is_newer: bool) -> str:
    run = "" if document.run_id is None else f" of run {document.run_id}"
    state = "are valid" if document.is_valid else "were checked"
    lines = [f"{document.path}: {counted(document.file_count, 'file')}{run} {state}."]
    if is_newer:
        lines.append(
            f"Release {document.release} wrote it with a newer manifest "
            f"(version {document.schema_version}), whose additional fields are ignored."
        )
    if document.missing_at_export:
        lines.append(
            f"When it was exported, the run already lacked "
            f"{counted(len(document.missing_at_export), 'file')}; manifest.json states why."
        )
    shown = document.problems[:_SHOWN_MAX]
    lines += [f"  {problem.kind}: {problem.path!r} ({problem.reason})" for problem in shown]
    if len(document.problems) > len(shown):
        lines.append(f"  and {len(document.problems) - len(shown)} more; --json lists all of them")
    return "\n".join(lines)
