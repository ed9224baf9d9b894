"""A benchmark on this computer, from the clip or suite to the directory with its results."""

import hashlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ffrtmp_client import plan_text, results, runs
from ffrtmp_client.api import Master
from ffrtmp_client.errors import ApiError, RefusedError, SettingsError
from ffrtmp_client.folder import Folder, check_belongs_to
from ffrtmp_client.progress import duration_text
from ffrtmp_client.report_files import write_report
from ffrtmp_client.result_files import RunResults, read_results, write_results
from ffrtmp_client.suite_files import SuiteText, file_problems
from ffrtmp_shared.suite import parse_suite
from ffrtmp_shared.suite_yaml import SuiteError
from ffrtmp_worker.ffmpeg.build_info import identify_build
from rich.console import Console

from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.local import host_state
from ffrtmp_cli.local.clip import check_file, file_digest
from ffrtmp_cli.local.clip_suite import make_clip_suite
from ffrtmp_cli.local.disk_space import check_space, remove_old_sessions
from ffrtmp_cli.local.farm_files import FARM_NAME
from ffrtmp_cli.local.ffmpeg_programs import Program, Programs, configuration, find_programs
from ffrtmp_cli.local.interrupts import single_interrupt
from ffrtmp_cli.local.local_farm import LocalFarm, running_farm
from ffrtmp_cli.local.paths import LocalPaths
from ffrtmp_cli.local.run_progress import RunProgress
from ffrtmp_cli.local.session_file import Session, load_session, store_session
from ffrtmp_cli.local.session_lock import exclusive_lock

RESULTS = Path("ffrtmp-results")
"""The directory for the directories of results, below the working directory."""

_KEY = "local"
_SUITE_SUFFIXES = (".yml", ".yaml")
_DIGEST_CHARACTERS = 32
_NEW_OPTION = "--new"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request of the user.

    Attributes:
        path: The clip or suite.
        output: The directory for the results, or None for a new one below `RESULTS`.
        ffmpeg: The FFmpeg to measure, or None.
        ffprobe: The ffprobe, or None.
        allow_builds: Whether FFmpeg builds that the suite provides may run.
        is_new: Whether an interrupted run is discarded.
    """

    path: Path
    output: Path | None
    ffmpeg: Path | None
    ffprobe: Path | None
    allow_builds: bool
    is_new: bool


@dataclass(frozen=True)
class Finished:
    """A finished benchmark.

    Attributes:
        directory: The directory with the results.
        report: The report in this directory, or None if it could not be written.
        read: The run with its results.
        remarks: What the user needs to know about the results.
    """

    directory: Path
    report: Path | None
    read: RunResults
    remarks: tuple[str, ...]

    @property
    def table(self) -> str:
        """The table of the medians as text."""
        return self.read.table(FARM_NAME)


def run_benchmark(request: Request, paths: LocalPaths, console: Console) -> Finished:
    """Measure a clip or a suite. An interrupted run of it is continued.

    Args:
        request: What to measure.
        paths: The user's directories.
        console: The console for progress, on standard error.

    Raises:
        CommandError: The benchmark cannot be completed. The message says what to do.
    """

    def report(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    check_file(request.path)
    _check_output(request.output)
    with exclusive_lock(paths.lock, os.getpid()) as lock, single_interrupt():
        progress: list[RunProgress] = []
        try:
            return _run(request, paths, console, report, progress, lock=lock)
        except KeyboardInterrupt:
            raise _interrupted(progress) from None
        except ApiError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(
                f"{error.filename or paths.state}: {error.strerror or error}. Free disk space, or "
                "set XDG_STATE_HOME to a directory of yours"
            ) from error


def _run(
    request: Request,
    paths: LocalPaths,
    console: Console,
    report: Callable[[str], None],
    progress: list[RunProgress],
    *,
    lock: int,
) -> Finished:
    remove_old_sessions(paths.sessions, time.time())
    programs = find_programs(request.ffmpeg, request.ffprobe)
    for remark in programs.remarks:
        report(remark)
    folder = paths.sessions / _session_name(request.path, programs)
    if request.is_new or load_session(folder) is None:
        _check_unused(request.output)
    if request.is_new:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    session = load_session(folder)
    is_known = session is not None
    try:
        check_space(folder, request.path)
        if session is None:
            session = _new_session(request.path, programs, folder, report)
            store_session(folder, session)
    except BaseException:
        # Without a session, there is nothing to continue.
        if not is_known:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    _report_start(session, programs, report, is_known=is_known)
    with running_farm(
        folder, paths.cache, programs, allow_builds=request.allow_builds, lock=lock
    ) as farm:
        run = runs.find_by_key(farm.master, _KEY)
        is_resumed = run is not None
        if run is None:
            _check_unused(request.output)
            run = _submit(farm.master, session, report)
        elif request.output is not None:
            # The command may have been interrupted while it wrote the results of this run.
            check_belongs_to(request.output, run["id"])
        following = RunProgress(run, session.expected_s)
        progress.append(following)
        if is_resumed:
            report(f"Resuming an interrupted run: {following.ended_text} are stored")
        following.follow(farm, console)
        finished = _fetch(farm, following.run, request, programs, session)
    # The results are complete, so that there is nothing to continue.
    shutil.rmtree(folder, ignore_errors=True)
    return finished


def _session_name(path: Path, programs: Programs) -> str:
    """Return a name that is the same for the same clip or suite with the same programs."""
    digest = hashlib.sha256(version("ffmpeg-rtmp-cli").encode())
    for part in (
        file_digest(path),
        str(path.absolute()) if is_suite(path) else "",
        *(file_digest(program.path) for program in _all(programs).values()),
    ):
        digest.update(f"\n{part}".encode())
    return digest.hexdigest()[:_DIGEST_CHARACTERS]


def is_suite(path: Path) -> bool:
    """Return whether a path is that of a suite and not of a clip."""
    return path.suffix.lower() in _SUITE_SUFFIXES


def _new_session(
    path: Path, programs: Programs, folder: Path, report: Callable[[str], None]
) -> Session:
    if is_suite(path):
        try:
            text = runs.read_suite(str(path))
        except SettingsError as error:
            raise CommandError(
                f"{error}. Name a text file in UTF-8 that you can read", ExitCode.USAGE
            ) from error
        try:
            parse_suite(text)
        except SuiteError as error:
            found = SuiteText(path, "\n".join(str(problem) for problem in error.problems))
            raise CommandError(found.located(found.text), ExitCode.USAGE) from error
        return Session(
            suite=text,
            suite_path=str(path.absolute()),
            expected_s=None,
            remarks=(),
            clip=None,
        )
    made = make_clip_suite(path, programs, folder, report)
    return Session(
        suite=made.text,
        suite_path=str(folder / "suite.yml"),
        expected_s=made.expected_s,
        remarks=made.remarks,
        clip=str(path.absolute()),
    )


def _report_start(
    session: Session, programs: Programs, report: Callable[[str], None], *, is_known: bool
) -> None:
    for remark in (*session.remarks, *host_state.power_remarks()):
        report(remark)
    report(f"FFmpeg: {programs.ffmpeg.path} ({programs.ffmpeg.origin})")
    if session.expected_s is not None and not is_known:
        report(f"Expected duration: about {duration_text(session.expected_s)}")
    report("Starting the master and the agent")


def _submit(master: Master, session: Session, report: Callable[[str], None]) -> dict[str, Any]:
    """Queue the run with the client that the Ansible modules use, and return it."""
    suite = SuiteText(Path(session.suite_path), session.suite)
    request = runs.request_of(session.suite, {"seed": None, "when_unmet": "refuse"})
    try:
        # With `wait`, the plan lists the scenarios that this computer cannot run instead of
        # failing.
        plan = runs.plan(master, {**request, "when_unmet": "wait"}, _KEY)
    except RefusedError as error:
        raise CommandError(suite.located(str(error)), ExitCode.USAGE) from error
    if plan["waiting"]:
        raise CommandError(
            "this computer cannot run all scenarios of the suite. Remove them from the suite, or "
            "use another FFmpeg: --ffmpeg PATH",
            details=tuple(plan_text.waiting_lines(plan)),
        )
    problems = file_problems(suite, plan["files"])
    if problems:
        raise CommandError("\n".join(problems), ExitCode.USAGE)
    if session.clip is None:
        for line in plan_text.plan_lines(plan):
            report(line)
    sources = runs.source_digests(
        session.suite, [str(suite.resolve(file["path"])) for file in plan["files"]]
    )
    for digest in runs.missing_sources(master, sources):
        master.upload(f"/v1/sources/{digest}", sources[digest])
    return runs.create(master, request, _KEY)


def _fetch(
    farm: LocalFarm,
    run: dict[str, Any],
    request: Request,
    programs: Programs,
    session: Session,
) -> Finished:
    directory = (request.output or RESULTS / results.directory_name(run)).absolute()
    check_belongs_to(directory, run["id"])
    read = read_results(farm.master, run["id"])
    folder = Folder(directory, is_dry=False, modified_s=results.end_s(read.run, read.results))
    more = {"ffmpeg.json": _programs_document(programs)}
    write_results(farm.master, read, folder, FARM_NAME, more)
    remarks = list(session.remarks)
    try:
        report: Path | None = write_report(directory, read).path
    except ApiError as error:
        # The results are complete without it.
        report = None
        remarks.append(f"There is no report: {error}")
    if not programs.has_quality:
        remarks.append(
            "Quality is unavailable, because this FFmpeg has no libvmaf. Use one that has it: "
            "--ffmpeg PATH, or install the extra `ffmpeg` of ffmpeg-rtmp-cli"
        )
    energy = host_state.energy_remark()
    if energy is not None:
        remarks.append(energy)
    remarks += host_state.power_remarks()
    remarks += host_state.disturbance_remarks(read.rows)
    return Finished(directory, report, read, tuple(remarks))


def _all(programs: Programs) -> dict[str, Program]:
    return {
        "ffmpeg": programs.ffmpeg,
        "ffprobe": programs.ffprobe,
        "quality_ffmpeg": programs.quality_ffmpeg,
    }


def _programs_document(programs: Programs) -> bytes:
    """Return the origin and the configure line of each program, as JSON."""
    document = {role: _program_values(role, program) for role, program in _all(programs).items()}
    return results.as_json(document)


def _program_values(role: str, program: Program) -> dict[str, Any]:
    values = {
        "path": str(program.path),
        "origin": program.origin,
        "configuration": configuration(program),
    }
    if role == "ffprobe":
        return {**values, "sha256": file_digest(program.path)}
    build = identify_build(program.path)
    return {**values, "sha256": build.sha256, "version": build.version}


def _check_output(output: Path | None) -> None:
    """Raise CommandError if the directory for the results cannot be written."""
    directory = (output or RESULTS).absolute()
    existing = next(folder for folder in (directory, *directory.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise CommandError(
            f"{directory} cannot be written: choose a directory of yours with --output",
            ExitCode.USAGE,
        )


def _check_unused(output: Path | None) -> None:
    """Raise CommandError if a new run would write to a directory with results."""
    if output is not None and (output / "results.json").exists():
        raise CommandError(
            f"{output.absolute()} contains the results of another run: choose another --output",
            ExitCode.USAGE,
        )


def _interrupted(progress: list[RunProgress]) -> CommandError:
    # A resumed farm that has not started yet has not reported its jobs.
    stored = f"{progress[0].ended_text} are stored" if progress else "the results so far are kept"
    # `make local` runs the command in an environment that is not in PATH.
    program = "ffrtmp" if shutil.which("ffrtmp") else sys.argv[0]
    again = shlex.join([program, *resuming_arguments(sys.argv[1:])])
    return CommandError(f"stopped: {stored}. To resume, run: {again}", ExitCode.INTERRUPTED)


def resuming_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command without `--new`, which would discard the results.

    Args:
        arguments: The arguments of the interrupted command.
    """
    # Operands follow `--`.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != _NEW_OPTION]
    return [*options, *arguments[end:]]


def document_values(finished: Finished) -> dict[str, Any]:
    """Return the values of a finished benchmark for its JSON document."""
    run = finished.read.run
    return {
        "run_id": run["id"],
        "suite": run["suite_name"],
        "state": run["state"],
        "directory": str(finished.directory),
        "report": None if finished.report is None else str(finished.report),
        "complete": finished.read.is_complete,
        "counts": run["counts"],
        "rows": finished.read.rows,
        "remarks": list(finished.remarks),
    }
