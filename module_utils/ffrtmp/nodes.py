"""Nodes: letting them work, draining them, forgetting them."""

from __future__ import annotations

from http import HTTPStatus

from ansible.module_utils.ffrtmp.api import (
    ApiError,
    Deadline,
    Json,
    Master,
    RefusedError,
    SettingsError,
    persist,
)

POLL_S = 1.0
"""How often a draining node is looked at."""


def all_nodes(master: Master) -> list[Json]:
    """Return all nodes, by name."""
    return list(master.get("/v1/nodes")["items"])


def find(nodes: list[Json], name: str) -> Json | None:
    """Return the node of this name, if there is one."""
    return next((node for node in nodes if node["name"] == name), None)


def require(nodes: list[Json], name: str) -> Json:
    """Return the node of this name; raises SettingsError when there is none."""
    node = find(nodes, name)
    if node is None:
        known = ", ".join(sorted(node["name"] for node in nodes)) or "none"
        raise SettingsError(
            f"the master knows no node {name} (known: {known}); a node becomes known when its "
            "agent has started"
        )
    return node


def set_state(master: Master, name: str, state: str) -> Json:
    """Let a node work (active) or let it finish and claim no more (draining)."""
    node: Json = master.send("PATCH", f"/v1/nodes/{name}", {"state": state})
    return node


def remove(master: Master, name: str) -> None:
    """Make the master forget a node; raises ApiError when it works on a job."""
    try:
        master.send("DELETE", f"/v1/nodes/{name}")
    except RefusedError as refused:
        if refused.status == HTTPStatus.CONFLICT:
            raise ApiError(
                f"{refused}\nDrain node {name} first (state=draining, wait=true), then remove it"
            ) from refused
        raise


def held_jobs(master: Master, name: str) -> list[str]:
    """Return the ids of the jobs that a node works on now."""
    return [
        job["id"]
        for run in master.pages("/v1/runs")
        if run["state"] == "running"
        for job in master.pages("/v1/jobs", {"run": run["id"]})
        if job["state"] in ("leased", "running") and job["leased_to"] == name
    ]


def wait_until_idle(master: Master, name: str, deadline: Deadline) -> None:
    """Wait until a node works on nothing; a master that is away is waited for.

    Raises ApiError, naming the jobs, when the time is over.
    """
    while True:
        jobs = persist(lambda: held_jobs(master, name), deadline)
        if not jobs:
            return
        if deadline.is_over:
            raise ApiError(
                f"node {name} still works on {', '.join(jobs)} after the time to wait for it; it "
                "stays draining",
                jobs=jobs,
            )
        deadline.pause(POLL_S)
