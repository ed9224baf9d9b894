"""Agent of the farm on which the commands of a page run."""

from collections.abc import Iterator
from contextlib import contextmanager

from ffrtmp_shared.agent_models import Claim, ClaimRequest, Heartbeat, ResultReport
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.models import Role
from measurement_factory import measurement
from repetition import repeated

from .conftest import Site


@contextmanager
def working(site: Site) -> Iterator[None]:
    """Let an agent of worker1 work on the jobs until the end of the context."""
    token = site.token(Role.AGENT)
    with MasterClient(site.master.url, token, site.master.ca_file) as client:

        def claim_and_work() -> None:
            claim = client.claim(ClaimRequest(node="worker1", slot=1, wait_s=0.5))
            if claim is not None:
                _work(client, claim)

        with repeated(claim_and_work):
            yield


def _work(client: MasterClient, claim: Claim) -> None:
    progress = Progress(stage="encode", ratio=0.5)
    client.heartbeat(claim.job.id, Heartbeat(attempt=claim.attempt, progress=progress))
    client.append_log(claim.job.id, claim.attempt, 0, b"frame=  120 fps= 48 speed=1.9x\n")
    report = ResultReport(attempt=claim.attempt, measurement=measurement())
    client.report_result(claim.job.id, report)
