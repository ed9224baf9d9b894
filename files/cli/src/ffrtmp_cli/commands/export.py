"""The command `ffrtmp export`, which writes a run as one zip file."""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path

import click
import msgspec
from ffrtmp_client import nodes, results
from ffrtmp_client.api import Json, Master, file_sha256
from ffrtmp_client.bundle_manifest import Manifest
from ffrtmp_client.bundle_writer import BundleContent, bundle_content, write_bundle
from ffrtmp_client.errors import RefusedError, SettingsError
from ffrtmp_client.folder import Folder
from ffrtmp_client.node_environments import NODES_NAME, node_environments
from ffrtmp_client.phrases import counted
from ffrtmp_client.result_files import read_results, write_results

from ffrtmp_cli.connection import connectable
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.examples import examples
from ffrtmp_cli.name_completion import complete_runs
from ffrtmp_cli.output import json_output
from ffrtmp_cli.output_file import open_output
from ffrtmp_cli.run_selection import LAST, select_run

_NAMED_MAX = 10


class MissingEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the run that the bundle does not contain.

    Attributes:
        path: The path that it would have.
        reason: Why it is missing.
    """

    path: str
    reason: str


class ExportDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/export/1", kw_only=True):
    """A bundle that was written.

    Attributes:
        file: The path of the zip file.
        sha256: Its SHA-256.
        size_bytes: Its size, in bytes.
        run_id: The id of the run.
        is_complete: Whether the run has ended, each of its jobs has a result and no file is
            missing.
        file_count: The number of files of the run in the bundle.
        missing: The files of the run that the bundle does not contain.
        omitted: The files of the directory that do not belong to the run.
    """

    file: str
    sha256: str
    size_bytes: int
    run_id: str
    is_complete: bool
    file_count: int
    missing: tuple[MissingEntry, ...]
    omitted: tuple[str, ...]


@click.command(
    "export", epilog=examples("ffrtmp export", "ffrtmp export last --output demo-run.zip")
)
@click.argument("run", metavar="[RUN|DIRECTORY]", default=LAST, shell_complete=complete_runs)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Path of the zip file.  [default: TIME-SUITE-ID.zip]",
)
@click.option(
    "--farm", metavar="NAME", default="", help="Name of the farm.  [default: that of the results]"
)
@connectable
@json_output(ExportDocument)
def command(
    *,
    connect: Callable[[], AbstractContextManager[Master]],
    run: str,
    output: str | None,
    farm: str,
) -> tuple[ExportDocument, str]:
    """Write a run as one zip file, a bundle, which can be compared and verified without the farm.

    RUN is the id of a run, at least the last four characters of the id, or last, the default.
    DIRECTORY is a directory of results. The bundle contains suite, results, logs, series, scores,
    the environment of every node, a manifest and the digests of all files. A run that continues can
    be exported; the manifest lists what is missing.
    """
    if run != LAST and Path(run).is_dir():
        try:
            content = bundle_content(Path(run), version("ffmpeg-rtmp-cli"), farm)
            file = _write(content, output)
        except SettingsError as error:
            raise CommandError(str(error)) from error
    else:
        if "/" in run or run == ".":
            raise CommandError(f"{run} is not a directory", ExitCode.NOT_FOUND)
        with connect() as master:
            content, file = _export(master, run, output, farm)
    manifest = content.manifest
    document = ExportDocument(
        file=str(file),
        sha256=file_sha256(file),
        size_bytes=file.stat().st_size,
        run_id=str(manifest.run["id"]),
        is_complete=manifest.is_complete,
        file_count=len(manifest.files),
        missing=tuple(MissingEntry(path=e.path, reason=e.reason) for e in manifest.missing),
        omitted=tuple(content.omitted),
    )
    return document, _text(document, manifest)


def _export(master: Master, run: str, output: str | None, farm: str) -> tuple[BundleContent, Path]:
    """Write the bundle of a run of the farm."""
    read = read_results(master, select_run(master, run)["id"])
    environments = node_environments(read.run, read.results, _registered(master))
    # The disk of the bundle has the space for its files.
    place = Path.cwd() if output is None else Path(output).absolute().parent
    try:
        temporary = tempfile.TemporaryDirectory(prefix=".ffrtmp-export-", dir=place)
    except OSError as error:
        raise CommandError(
            f"{place} cannot be written: {error.strerror}. Name another file with --output"
        ) from error
    with temporary as name:
        directory = Path(name)
        more = {NODES_NAME: results.as_json({"nodes": environments})}
        write_results(master, read, Folder(directory, is_dry=False), farm, more)
        content = bundle_content(directory, version("ffmpeg-rtmp-cli"), farm)
        return content, _write(content, output)


def _registered(master: Master) -> list[Json] | None:
    """Return the nodes of the farm, or None if the token may not read them."""
    try:
        return nodes.all_nodes(master)
    except RefusedError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        return None


def _write(content: BundleContent, output: str | None) -> Path:
    run = content.manifest.run
    path = Path(output or f"{results.directory_name(dict(run))}.zip")
    if path.exists() and not path.is_file():
        raise CommandError(f"{path} is not a regular file. Name another file with --output")
    with open_output(str(path)) as file:
        write_bundle(content, file)
    return path


def _text(document: ExportDocument, manifest: Manifest) -> str:
    lines = [
        f"{document.file}: {counted(document.file_count, 'file')}, {document.size_bytes} bytes, "
        f"SHA-256 {document.sha256}"
    ]
    if manifest.result_count != manifest.job_count or manifest.run["finished_at"] is None:
        lines.append(
            f"The run is {manifest.run['state']}: {manifest.result_count} of {manifest.job_count} "
            "jobs have a result."
        )
    if document.missing:
        lines.append(f"Missing: {counted(len(document.missing), 'file')}.")
        lines += [f"  {entry.path}: {entry.reason}" for entry in document.missing[:_NAMED_MAX]]
    if document.omitted:
        shown = ", ".join(document.omitted[:_NAMED_MAX])
        lines.append(f"Not part of the run, and therefore not in the bundle: {shown}.")
    return "\n".join(lines)
