"""Client of the master's API: typed calls over HTTPS, authenticated with a token."""

from collections.abc import Collection, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Self, TypeVar
from uuid import UUID

import httpx
import msgspec

from ffrtmp_shared import credentials
from ffrtmp_shared.agent_models import (
    Claim,
    ClaimRequest,
    FailureReport,
    Heartbeat,
    HeartbeatAnswer,
    LogStored,
    ReportStored,
    ResultReport,
)
from ffrtmp_shared.attempt_models import Artifact
from ffrtmp_shared.credentials import ClientCertificate
from ffrtmp_shared.file_watch import FileWatch
from ffrtmp_shared.models import Job, JobPage, Result, ResultPage, Run, RunPage, RunRequest
from ffrtmp_shared.node_models import (
    Node,
    NodeHeartbeat,
    NodeHeartbeatAnswer,
    NodeList,
    NodeUpdate,
    Registration,
)
from ffrtmp_shared.precision import RunPrecision
from ffrtmp_shared.prices import PriceBook
from ffrtmp_shared.responses import (
    MAX_ANSWER_BYTES,
    MAX_PAGE_BYTES,
    Answer,
    MasterRefusedError,
    MasterUnreachableError,
    UnexpectedResponseError,
    decode_answer,
    items_of_pages,
    read_answer,
    refuse_answer,
)
from ffrtmp_shared.result_pages import RawResultPage
from ffrtmp_shared.run_plan import RunPlan

__all__ = [
    "MasterClient",
    "MasterRefusedError",
    "MasterUnreachableError",
    "UnexpectedResponseError",
]

T = TypeVar("T")

_TIMEOUT_S = 15.0
_OK = (HTTPStatus.OK, HTTPStatus.CREATED)


class _Ready(msgspec.Struct, frozen=True):
    """The response of a master that is ready."""

    status: str


class MasterClient:
    """A connection to the master. It is not thread-safe: use one client per thread.

    Every call raises MasterRefusedError if the master refuses the request, and
    MasterUnreachableError if it does not respond. Any response that is not one of the master
    raises UnexpectedResponseError, which is a MasterUnreachableError.
    """

    def __init__(
        self,
        url: str,
        token: str,
        ca_file: Path,
        client_certificate: ClientCertificate | None = None,
    ) -> None:
        """Create a client without connecting yet.

        Args:
            url: URL of the master.
            token: Token that authenticates every request.
            ca_file: Certificate of the only CA that the client trusts.
            client_certificate: Certificate to present if the master requests one.

        Raises:
            ValueError: The token or the URL is not valid. The message contains neither.
            OSError: A certificate file cannot be read.
        """
        self._url = url
        self._token = credentials.check_token(token)
        self._ca_file = ca_file
        self._certificate = client_certificate
        self._watch = FileWatch(
            [ca_file]
            if client_certificate is None
            else [ca_file, client_certificate.certificate_file, client_certificate.key_file]
        )
        self._connection = self._open()

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _open(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self._token}"}
        context = credentials.client_context(self._ca_file, self._certificate)
        try:
            return httpx.Client(
                base_url=self._url, headers=headers, verify=context, timeout=_TIMEOUT_S
            )
        except (httpx.InvalidURL, ValueError):
            # The message would contain the URL of the master or of the proxy, with its password.
            raise ValueError(
                "master_url, or the proxy in the environment, is not a valid URL"
            ) from None

    @property
    def _http(self) -> httpx.Client:
        """The connection. It is opened again after a certificate was renewed.

        A restart would interrupt the job of an agent.
        """
        renewed = self._watch.load_changed(self._open)
        if renewed is not None:
            self._connection.close()
            self._connection = renewed
        return self._connection

    # --- agents ---

    def register(self, registration: Registration) -> Node:
        """Register the node, or update its registration."""
        path = f"/v1/nodes/{registration.name}"
        return self._call("PUT", path, Node, body=registration)

    def send_node_heartbeat(self, name: str, heartbeat: NodeHeartbeat) -> NodeHeartbeatAnswer:
        """Report the condition of a node's host. A master of an earlier release answers 404."""
        path = f"/v1/nodes/{name}/heartbeat"
        return self._call("POST", path, NodeHeartbeatAnswer, body=heartbeat)

    def claim(self, request: ClaimRequest) -> Claim | None:
        """Claim a job, waiting up to `request.wait_s`. Return None if no job became available."""
        answer = self._send(
            "POST",
            "/v1/claims",
            body=request,
            timeout_s=request.wait_s + _TIMEOUT_S,
            statuses=(HTTPStatus.OK, HTTPStatus.NO_CONTENT),
        )
        return None if answer.status == HTTPStatus.NO_CONTENT else decode_answer(answer, Claim)

    def heartbeat(self, job_id: UUID, heartbeat: Heartbeat) -> HeartbeatAnswer:
        """Renew the lease of a job."""
        return self._call("POST", f"/v1/jobs/{job_id}/heartbeat", HeartbeatAnswer, body=heartbeat)

    def report_result(self, job_id: UUID, report: ResultReport) -> ReportStored:
        """Submit the measurement of an attempt. The master has stored it when this returns."""
        return self._call("POST", f"/v1/jobs/{job_id}/result", ReportStored, body=report)

    def report_failure(self, job_id: UUID, report: FailureReport) -> ReportStored:
        """Report that an attempt failed, and why."""
        return self._call("POST", f"/v1/jobs/{job_id}/failure", ReportStored, body=report)

    def append_log(self, job_id: UUID, attempt: int, offset: int, piece: bytes) -> LogStored:
        """Append a piece to the log of an attempt. Sending the same piece again is harmless.

        Args:
            job_id: The job.
            attempt: The attempt of the job that writes the log.
            offset: Number of bytes that precede the piece in the log.
            piece: Text in UTF-8.

        Returns:
            The size of the log after the call.
        """
        answer = self._send(
            "POST",
            f"/v1/jobs/{job_id}/log",
            params={"attempt": str(attempt), "offset": str(offset)},
            content=piece,
            headers={"Content-Type": "text/plain; charset=utf-8"},
        )
        return decode_answer(answer, LogStored)

    def upload_artifact(
        self, job_id: UUID, attempt: int, name: str, path: Path, *, sha256: str | None = None
    ) -> None:
        """Upload an artifact of an attempt.

        Args:
            job_id: The job.
            attempt: The attempt of the job that produced the file.
            name: Name of the artifact.
            path: File to upload.
            sha256: Expected digest of the file; the master rejects any other content.
        """
        params = {"attempt": str(attempt)} | ({} if sha256 is None else {"sha256": sha256})
        with path.open("rb") as file:
            answer = self._send(
                "PUT",
                f"/v1/jobs/{job_id}/artifacts/{name}",
                params=params,
                content=iter(lambda: file.read(65536), b""),
                # With the size, the master can refuse the upload before it is sent.
                headers={"Content-Length": str(path.stat().st_size)},
            )
        decode_answer(answer, Artifact)

    def download_source(self, sha256: str) -> Iterator[bytes]:
        """Yield the bytes of a source in pieces. The caller has to verify the digest."""
        try:
            with self._http.stream("GET", f"/v1/sources/{sha256}") as response:
                if response.status_code != HTTPStatus.OK:
                    refuse_answer(read_answer(response, _TIMEOUT_S, MAX_ANSWER_BYTES))
                yield from response.iter_bytes()
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise MasterUnreachableError(_reason(self._http.base_url, error)) from error

    # --- operators ---

    def create_run(self, request: RunRequest, key: str | None = None) -> Run:
        """Queue a run of a suite. If a run with this `key` exists, return that run instead."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._call("POST", "/v1/runs", Run, body=request, headers=headers)

    def plan_run(self, request: RunRequest, key: str | None = None) -> RunPlan:
        """Return the jobs that a suite would queue, without queueing them.

        Args:
            request: The request for a run.
            key: The idempotency key that a request for this run would have.
        """
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._call("POST", "/v1/runs/plan", RunPlan, body=request, headers=headers)

    def run(self, run_id: UUID) -> Run:
        """Return the current state of a run."""
        return self._call("GET", f"/v1/runs/{run_id}", Run)

    def precision(self, run_id: UUID) -> RunPrecision:
        """Return the precision of the results of a run."""
        return self._call("GET", f"/v1/runs/{run_id}/precision", RunPrecision)

    def run_page(self, cursor: str = "", *, only_unfinished: bool = False) -> RunPage:
        """Return one page of runs, newest first; finished runs can be left out."""
        params = {"cursor": cursor} | ({"unfinished": "true"} if only_unfinished else {})
        return self._call("GET", "/v1/runs", RunPage, params=params)

    def cancel_run(self, run_id: UUID) -> Run:
        """Cancel all jobs of a run that are not yet in a final state."""
        return self._call("POST", f"/v1/runs/{run_id}/cancel", Run)

    def job(self, job_id: UUID) -> Job:
        """Return the current state of a job."""
        return self._call("GET", f"/v1/jobs/{job_id}", Job)

    def jobs(self, run_id: UUID) -> Iterator[Job]:
        """Yield all jobs of a run."""

        def job_page(cursor: str) -> JobPage:
            params = {"run": str(run_id), "cursor": cursor}
            return self._call("GET", "/v1/jobs", JobPage, params=params)

        return items_of_pages(job_page)

    def result_page(self, cursor: str = "", run_id: UUID | None = None) -> ResultPage:
        """Return one page of results after `cursor`, in the order in which they were stored."""
        params = {"cursor": cursor} | ({"run": str(run_id)} if run_id else {})
        return self._call("GET", "/v1/results", ResultPage, params=params)

    def raw_result_page(self, cursor: str = "") -> RawResultPage:
        """Return the page that `result_page` returns, with results that are not decoded yet."""
        return self._call("GET", "/v1/results", RawResultPage, params={"cursor": cursor})

    def results(self, run_id: UUID) -> Iterator[Result]:
        """Yield all results of a run."""
        return items_of_pages(lambda cursor: self.result_page(cursor, run_id))

    def download_artifact(self, job_id: UUID, attempt: int, name: str) -> bytes:
        """Return the content of an artifact.

        Args:
            job_id: The job.
            attempt: The attempt of the job that produced the artifact.
            name: Name of the artifact.
        """
        path = f"/v1/jobs/{job_id}/attempts/{attempt}/artifacts/{name}"
        return self._send("GET", path, max_bytes=MAX_PAGE_BYTES).content

    def nodes(self) -> tuple[Node, ...]:
        """Return all nodes."""
        return self._call("GET", "/v1/nodes", NodeList).items

    def prices(self) -> PriceBook:
        """Return the price book, which is empty if none is deployed."""
        return self._call("GET", "/v1/prices", PriceBook)

    def update_node(self, name: str, update: NodeUpdate) -> Node:
        """Activate or drain a node."""
        return self._call("PATCH", f"/v1/nodes/{name}", Node, body=update)

    def upload_source(self, sha256: str, path: Path) -> None:
        """Upload a source. The master rejects it if its digest is not `sha256`."""
        with path.open("rb") as file:
            self._send(
                "PUT",
                f"/v1/sources/{sha256}",
                content=iter(lambda: file.read(65536), b""),
                headers={"Content-Length": str(path.stat().st_size)},
                statuses=(HTTPStatus.NO_CONTENT,),
            )

    def is_ready(self) -> bool:
        """Return whether the master is ready to serve requests."""
        try:
            self._call("GET", "/readyz", _Ready)
        except MasterRefusedError:
            return False
        return True

    # --- requests ---

    def _call(
        self,
        method: str,
        path: str,
        answer_type: type[T],
        *,
        body: msgspec.Struct | None = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> T:
        # Only agents send POST and PUT frequently; everything else may return a long page.
        max_bytes = MAX_PAGE_BYTES if method == "GET" else MAX_ANSWER_BYTES
        return decode_answer(
            self._send(
                method, path, body=body, params=params, headers=headers, max_bytes=max_bytes
            ),
            answer_type,
        )

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: msgspec.Struct | None = None,
        content: bytes | Iterator[bytes] | None = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = _TIMEOUT_S,
        statuses: Collection[int] = _OK,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        headers = dict(headers or {})
        payload: bytes | Iterator[bytes] | None = content
        if body is not None:
            payload = msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        elif content is not None:
            headers.setdefault("Content-Type", "application/octet-stream")
        try:
            with self._http.stream(
                method, path, content=payload, params=params, headers=headers, timeout=timeout_s
            ) as response:
                answer = read_answer(response, timeout_s, max_bytes)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise MasterUnreachableError(_reason(self._http.base_url, error)) from error
        if answer.status not in statuses:
            refuse_answer(answer)
        return answer


def _reason(url: httpx.URL, error: Exception) -> str:
    text = f"the master at {url} did not answer: {error or type(error).__name__}"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        text += " (its certificate is not from the farm's CA; see the setting ca_file)"
    return text
