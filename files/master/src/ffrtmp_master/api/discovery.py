"""The addresses of the nodes' exporters, for Prometheus HTTP service discovery."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from ffrtmp_shared.node_models import NODE_EXPORTERS, Node, TargetGroup
from litestar import get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from ffrtmp_master.api import problems
from ffrtmp_master.api.path_params import NamePart
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.services import Services
from ffrtmp_master.store import nodes
from ffrtmp_master.store.errors import NotFoundError


@get(
    "/v1/sd/{exporter:str}",
    guards=[require_role(*permissions.DISCOVER_EXPORTERS)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND),
)
async def discover(
    exporter: NamePart, services: NamedDependency[SkipValidation[Services]]
) -> Sequence[TargetGroup]:
    """List one target for each node that runs the exporter.

    An offline node is listed, so that its failure is noticed, unless an operator has drained it:
    such a node was stopped on purpose, for example to be removed. If the exporter is neither one of
    the farm nor registered by a node, the response is 404.
    """
    heard_since = services.liveness.heard_since(services.clock())
    found = await services.reader.read(lambda c: nodes.list_all(c, heard_since))
    known = {*NODE_EXPORTERS, *(name for node in found for name in node.registration.exporters)}
    if exporter not in known:
        raise NotFoundError(
            f"there is no exporter {exporter!r}; known are {', '.join(sorted(known))}"
        )
    return [
        _group(node, exporter)
        for node in found
        if exporter in node.registration.exporters and not node.was_stopped
    ]


def _group(node: Node, exporter: str) -> TargetGroup:
    address = node.registration.address
    host = f"[{address}]" if ":" in address else address
    return TargetGroup(
        targets=(f"{host}:{node.registration.exporters[exporter]}",), labels={"node": node.name}
    )


ROUTES: tuple[Any, ...] = (discover,)
