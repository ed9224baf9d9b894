"""Functions that list, activate, drain and remove nodes."""

from __future__ import annotations

from http import HTTPStatus

from .api import Json, Master
from .deadline import Deadline, persist
from .errors import ApiError, RefusedError, SettingsError

POLL_S = 1.0
"""Interval at which a draining node is polled, in seconds."""

_HELD_STATES = ("leased", "running")


def all_nodes(master: Master) -> list[Json]:
    """Return all nodes, sorted by name."""
    return list(master.get("/v1/nodes")["items"])


def find(nodes: list[Json], name: str) -> Json | None:
    """Return the node with this name, or None."""
    return next((node for node in nodes if node["name"] == name), None)


def require(nodes: list[Json], name: str) -> Json:
    """Return the node with this name. Raises SettingsError if there is none."""
    node = find(nodes, name)
    if node is None:
        known = ", ".join(sorted(node["name"] for node in nodes)) or "none"
        raise SettingsError(
            f"the master has no node {name} (known: {known}); a node is registered when its agent "
            "starts"
        )
    return node


def set_state(master: Master, name: str, state: str) -> Json:
    """Set the state of a node to active or draining. Return the node."""
    node: Json = master.send("PATCH", f"/v1/nodes/{name}", {"state": state})
    return node


def remove(master: Master, name: str) -> None:
    """Remove a node from the master. Raises ApiError if the node has a job."""
    try:
        master.send("DELETE", f"/v1/nodes/{name}")
    except RefusedError as refused:
        if refused.status == HTTPStatus.CONFLICT:
            raise ApiError(
                f"{refused}\nDrain node {name} first (state=draining, wait=true), then remove it"
            ) from refused
        raise


def held_jobs(master: Master, name: str) -> list[str]:
    """Return the ids of the active jobs of a node, also of those that belong to no run."""
    return [
        job["id"]
        for state in _HELD_STATES
        for job in master.pages("/v1/jobs", {"node": name, "state": state})
        if job["leased_to"] == name
    ]


def wait_until_idle(master: Master, name: str, deadline: Deadline) -> None:
    """Wait until a node has no active job. The wait continues while the master is unavailable.

    Args:
        master: Connection to the master.
        name: Name of the node.
        deadline: Time at which the wait ends.

    Raises:
        ApiError: The node still has active jobs at the deadline. The message lists them.
    """
    while True:
        jobs = persist(lambda: held_jobs(master, name), deadline)
        if not jobs:
            return
        if deadline.is_over:
            raise ApiError(
                f"node {name} still has active jobs after wait_timeout_s: {', '.join(jobs)}. It "
                "remains draining",
                jobs=jobs,
            )
        deadline.pause(POLL_S)
