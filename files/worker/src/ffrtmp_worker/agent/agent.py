"""Main loop of a slot: claim a job, run it and report its outcome, until the agent is stopped."""

import logging
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
from ffrtmp_shared.agent_models import Claim, ClaimRequest, FailureReport, ResultReport
from ffrtmp_shared.attempt_models import Artifact, Failure, Progress
from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.credentials import ClientCertificate, read_token
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.host_environment import NODE_EXCLUSIVE, NODE_SHARED
from ffrtmp_shared.loop_runner import AfterPass, Pacing, ThreadLoop
from ffrtmp_shared.measurement import Measurement, QualityMeasurement
from ffrtmp_shared.scenario import Scenario
from ffrtmp_shared.stages import TIMED_STAGES, Stage
from tenacity import RetryError

from ffrtmp_worker import kinds
from ffrtmp_worker.activity import ActivitySender, LastResult, SlotActivity
from ffrtmp_worker.agent import capabilities, scores_file, series_file
from ffrtmp_worker.agent.directory_lock import DirectoryLock
from ffrtmp_worker.agent.lease_keeper import LeaseKeeper
from ffrtmp_worker.agent.log_uploader import LogUploader
from ffrtmp_worker.agent.node_heartbeats import NodeHeartbeats
from ffrtmp_worker.agent.report_delivery import ReportDelivery
from ffrtmp_worker.agent.report_values import UnrepresentableError, conforming_measurement
from ffrtmp_worker.agent.retry import retry_until_answered
from ffrtmp_worker.agent.service_status import report_status
from ffrtmp_worker.agent.settings import AgentSettings
from ffrtmp_worker.agent.spool import Spool
from ffrtmp_worker.agent.spooled_report import SpooledReport, describe_artifact
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.inputs.address_policy import AddressPolicy, parse_networks
from ffrtmp_worker.inputs.cache import SourceCache
from ffrtmp_worker.inputs.download import DownloadLimits, UrlAccess
from ffrtmp_worker.inputs.fetcher import SourceFetcher
from ffrtmp_worker.inputs.ffmpeg_build import BuildCache
from ffrtmp_worker.kinds.steps.attempt import ENCODE_LOG_NAME, Attempt, Tools
from ffrtmp_worker.measure.series import Series

_log = logging.getLogger(__name__)

# Short, so that the agent reacts to SIGTERM quickly. This does not delay jobs, because the master
# answers a waiting claim as soon as it has a job.
_CLAIM_WAIT_S = 5.0
_CONFLICT = 409
# While a job runs, each check of whether it has to stop counts as progress.
_STALE_AFTER_S = 300.0


class Agent:
    """The agent for one slot of a node."""

    def __init__(
        self, settings: AgentSettings, slot: int, tools: Tools, stopped: threading.Event
    ) -> None:
        """Prepare the slot.

        Args:
            settings: the agent's settings.
            slot: number of the slot, from 1.
            tools: the programs and services that the node uses for measurements.
            stopped: an event; the agent ends soon after it is set.

        Raises:
            OSError: a file named in the settings cannot be read or written.
            ValueError: the token file is empty, or a certificate or its key is missing.
        """
        self._settings = settings
        self._slot = slot
        self._tools = tools
        self._stopped = stopped
        self._token = read_token(settings.token_file)
        self._certificate = ClientCertificate.from_files(
            settings.certificate_file, settings.key_file
        )
        self._work = settings.work_dir / f"slot-{slot}"
        self._spool = Spool(settings.spool_dir / f"slot-{slot}")
        self._status = tools.loops.add("claims", stale_after_s=_STALE_AFTER_S)
        self._delivery = ReportDelivery(self._spool, stopped, self._status)
        self._fetcher = SourceFetcher(
            SourceCache(settings.cache_dir, settings.cache_max_bytes),
            tools,
            settings.cache_max_bytes,
            UrlAccess(
                policy=AddressPolicy(allowed=parse_networks(settings.source_networks)),
                limits=DownloadLimits(
                    deadline_s=settings.source_deadline_s,
                    min_bytes_per_s=settings.source_min_bytes_per_s,
                ),
            ),
        )
        self._builds = BuildCache(self._fetcher, is_allowed=settings.allow_ffmpeg_under_test)
        self._activity = ActivitySender(settings.progress_socket, tools.loops)
        self._last: LastResult | None = None
        # Files left by a killed agent belong to attempts that will not be continued.
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)

    def run(self) -> None:
        """Run jobs until the agent is stopped. Undelivered reports remain in the spool."""
        with self._connect() as client:
            try:
                self._register(client)
                self._start_heartbeats()
                ThreadLoop(
                    self._status,
                    partial(self._run_once, client),
                    Pacing(interval_s=0.0),
                    stopped=self._stopped,
                    expected=(MasterUnreachableError, MasterRefusedError),
                ).run()
            except RetryError:
                _log.info("stopped while waiting for the master")
            finally:
                self._activity.send_end(self._slot)
                self._activity.close()

    def _start_heartbeats(self) -> None:
        """Report the condition of the host until the agent is stopped, unless another slot does."""
        NodeHeartbeats(
            self._settings.node_name,
            self._connect,
            self._tools.loops,
            DirectoryLock(self._settings.work_dir),
            stopped=self._stopped,
        ).start()

    def _connect(self) -> MasterClient:
        settings = self._settings
        return MasterClient(settings.master_url, self._token, settings.ca_file, self._certificate)

    def _register(self, client: MasterClient) -> None:
        registration = capabilities.registration(self._settings, self._tools)
        retry_until_answered(self._stopped)(client.register, registration)
        _log.info("registered", extra={"node": registration.name, "slot": self._slot})
        report_status(f"registered with {self._settings.master_url} as {registration.name}")

    def _run_once(self, client: MasterClient) -> AfterPass:
        """Deliver pending reports, then claim a job and run it if there is one."""
        try:
            if not self._delivery.deliver_all(client):
                return AfterPass.END
            self._activity.send(
                SlotActivity(
                    slot=self._slot, stage="idle", last=self._last, spool=self._delivery.counts()
                )
            )
            claim = retry_until_answered(self._stopped)(self._claim, client)
        except RetryError:
            _log.info("stopped while waiting for the master")
            return AfterPass.END
        if claim is not None:
            self._work_on(client, claim)
        return AfterPass.REPEAT

    def _claim(self, client: MasterClient) -> Claim | None:
        request = ClaimRequest(node=self._settings.node_name, slot=self._slot, wait_s=_CLAIM_WAIT_S)
        try:
            return client.claim(request)
        except MasterRefusedError as error:
            if error.problem.status != _CONFLICT:
                raise
            # The node was removed on the master, but this agent still runs, so it registers again.
            self._register(client)
            return None

    def _work_on(self, client: MasterClient, claim: Claim) -> None:
        context = {"job": claim.job.id, "attempt": claim.attempt}
        _log.info("claimed %s", claim.job.scenario.name, extra=context)
        folder = Path(tempfile.mkdtemp(prefix=f"{claim.job.id}-{claim.attempt}-", dir=self._work))
        try:
            with LeaseKeeper(claim, self._connect, self._tools.loops) as lease:
                log = folder / ENCODE_LOG_NAME
                with LogUploader(claim, log, self._connect, self._tools.loops):
                    outcome = self._measure(client, claim, lease, folder)
                if lease.is_lost:
                    _log.warning("the lease was lost; the attempt is not reported", extra=context)
                    return
                self._report(lease, claim, outcome, folder)
                self._delivery.deliver_all(client)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _measure(
        self, client: MasterClient, claim: Claim, lease: LeaseKeeper, folder: Path
    ) -> Measurement | Failure:
        """Run the job and return its measurement, or a failure if an error ends the attempt."""
        scenario = claim.job.scenario
        attempt = Attempt(
            scenario=scenario,
            folder=folder,
            tools=self._tools,
            fetch=lambda source, target: self._fetcher.fetch(
                client, source, target, attempt.check_stop
            ),
            report=self._reporter(claim, lease),
            stop_reason=partial(self._stop_reason, lease),
            is_exclusive=claim.job.exclusive,
        )
        try:
            measured = kinds.run_attempt(self._builds.tools_for(attempt, client))
            measured = conforming_measurement(msgspec.to_builtins(measured))
            measured = _with_node_use(measured, is_exclusive=claim.job.exclusive)
            attempt.enter(Stage.REPORT)
            _write_artifacts(attempt.series, folder)
        except AttemptFailedError as error:
            return error.failure
        except UnrepresentableError as error:
            return AttemptFailedError(FailureClass.REPORT_REJECTED, str(error)).failure
        except OSError as error:
            _log.exception(
                "the attempt failed because of an error of the node", extra={"job": claim.job.id}
            )
            return AttemptFailedError(FailureClass.NODE, str(error)).failure
        # An error that nothing foresaw is one of this attempt. It must not end the agent, which
        # would claim the job again and lose every other job with it.
        except Exception as error:
            _log.exception(
                "the attempt failed because of an unexpected error", extra={"job": claim.job.id}
            )
            return AttemptFailedError(
                FailureClass.NODE,
                f"unexpected error of the agent: {type(error).__name__}: {error}",
            ).failure
        return measured

    def _stop_reason(self, lease: LeaseKeeper) -> str:
        """Return why the attempt has to stop, or "". Called repeatedly while the attempt runs."""
        self._status.succeed()
        # Some stages report no progress while they run, and the exporter would regard the slot as
        # idle.
        self._activity.repeat()
        return "the agent was stopped" if self._stopped.is_set() else lease.ended

    def _reporter(self, claim: Claim, lease: LeaseKeeper) -> Callable[[Progress], None]:
        scenario = claim.job.scenario
        # The reports do not change while the attempt runs.
        spool = self._delivery.counts()

        def report(progress: Progress) -> None:
            lease.set_progress(progress)
            # The rates are unknown before the first frame.
            is_timed = progress.stage in TIMED_STAGES and progress.frames > 0
            self._activity.send(
                SlotActivity(
                    slot=self._slot,
                    stage=progress.stage,
                    kind=scenario.kind,
                    encoder=scenario.encoder or "",
                    frames=progress.frames,
                    fps=progress.fps if is_timed else None,
                    speed=progress.speed if is_timed else None,
                    bitrate_bps=progress.bitrate_bps,
                    duplicated_frames=progress.duplicated_frames,
                    dropped_frames=progress.dropped_frames,
                    lag_s=progress.lag_s,
                    last=self._last,
                    spool=spool,
                )
            )

        return report

    def _report(
        self, lease: LeaseKeeper, claim: Claim, outcome: Measurement | Failure, folder: Path
    ) -> None:
        if isinstance(outcome, Measurement):
            self._last = _last_result(claim.job.scenario, outcome)
        self._reporter(claim, lease)(Progress(stage=Stage.REPORT))
        candidates = (
            folder / ENCODE_LOG_NAME,
            folder / series_file.NAME,
            *scores_file.list_score_files(folder),
        )
        files = [file for file in candidates if file.exists()]
        # A large output may have filled the disk, so remove it before writing the report.
        for other in set(folder.iterdir()) - set(files):
            if other.is_dir():
                shutil.rmtree(other)
            else:
                other.unlink()
        described = tuple(describe_artifact(file) for file in files)
        self._spool.add(_spooled_report(claim, outcome, described), files, claim.artifact_bytes_max)
        ended = outcome.failure_class if isinstance(outcome, Failure) else "measured"
        _log.info("attempt ended: %s", ended, extra={"job": claim.job.id})


def _write_artifacts(series: Series, folder: Path) -> None:
    """Write the series and the scores of every frame, each with a program of its own."""
    with ThreadPoolExecutor(max_workers=2) as programs:
        for written in (
            programs.submit(series_file.write_series_file, series, folder),
            programs.submit(scores_file.write_score_files, folder),
        ):
            written.result()


def _with_node_use(measured: Measurement, *, is_exclusive: bool) -> Measurement:
    environment = msgspec.structs.replace(
        measured.environment, node_use=NODE_EXCLUSIVE if is_exclusive else NODE_SHARED
    )
    return msgspec.structs.replace(measured, environment=environment)


def _last_result(scenario: Scenario, measured: Measurement) -> LastResult:
    quality = measured.quality
    return LastResult(
        kind=scenario.kind,
        encoder=scenario.encoder or "",
        vmaf_mean=quality.vmaf_mean if isinstance(quality, QualityMeasurement) else None,
    )


def _spooled_report(
    claim: Claim, outcome: Measurement | Failure, artifacts: tuple[Artifact, ...]
) -> SpooledReport:
    if isinstance(outcome, Failure):
        failure = FailureReport(attempt=claim.attempt, failure=outcome, artifacts=artifacts)
        return SpooledReport(job_id=claim.job.id, failure=failure)
    result = ResultReport(attempt=claim.attempt, measurement=outcome, artifacts=artifacts)
    is_older = claim.artifact_bytes_max is None
    return SpooledReport(job_id=claim.job.id, result=result, is_master_older=is_older)
