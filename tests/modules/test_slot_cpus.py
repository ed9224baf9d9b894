"""Tests of the assignment of CPUs to slots, with files like those that the kernel provides."""

import os
from pathlib import Path
from typing import Any

import ffrtmp_slot_cpus_info
import pytest

from .conftest import RunModule


def tree(folder: Path, nodes: list[list[int]], threads: int = 1, memory: str = "") -> str:
    """Create the kernel's files for NUMA nodes with the given cores.

    The second thread of core n is the CPU n + c, where c is the number of cores.
    """
    cores = [core for node in nodes for core in node]
    cpus = [core + thread * len(cores) for thread in range(threads) for core in cores]
    for number, node in enumerate(nodes):
        for core in node:
            siblings = [core + thread * len(cores) for thread in range(threads)]
            for cpu in siblings:
                topology = folder / f"cpu/cpu{cpu}/topology"
                topology.mkdir(parents=True)
                text = ",".join(str(sibling) for sibling in siblings)
                (topology / "thread_siblings_list").write_text(f"{text}\n")
                (folder / f"cpu/cpu{cpu}/node{number}").mkdir()
    (folder / "cpu/online").write_text(",".join(str(cpu) for cpu in cpus) + "\n")
    (folder / "node").mkdir()
    (folder / "node/has_memory").write_text(f"{memory or f'0-{len(nodes) - 1}'}\n")
    return str(folder)


def slots(answer: dict[str, Any]) -> list[tuple[str, str]]:
    assert answer["rc"] == 0, answer
    assert answer["changed"] is False
    return [(slot["cpus"], slot["memory_nodes"]) for slot in answer["slots"]]


@pytest.mark.parametrize(
    ("nodes", "threads", "wanted"),
    [
        ([[0, 1, 2, 3]], 1, [("0,1,2,3", "0")]),
        ([[0, 1, 2, 3]], 2, [("0,1", "0"), ("2,3", "0")]),
        # The fifth core is not assigned, because it does not suffice for another slot.
        ([[0, 1, 2, 3, 4]], 2, [("0,1", "0"), ("2,3", "0")]),
        ([[0, 1, 2], [3, 4, 5]], 2, [("0,1,2", "0"), ("3,4,5", "1")]),
        # On some machines, consecutive cores belong to alternating nodes.
        ([[0, 2, 4], [1, 3, 5]], 2, [("0,2,4", "0"), ("1,3,5", "1")]),
        # The smaller node is used first, so that no slot spans two nodes.
        ([[0, 1, 2, 3], [4, 5]], 1, [("4,5", "1"), ("0,1", "0"), ("2,3", "0")]),
        # A slot that does not fit on one node spans as few nodes as possible.
        ([[0, 1, 2], [3, 4, 5]], 1, [("0,1", "0"), ("3,4", "1"), ("2,5", "0,1")]),
        ([[0, 1], [2, 3]], 2, [("0,1,2,3", "0,1")]),
    ],
)
def test_physical_cores_are_divided(
    run_module: RunModule,
    tmp_path: Path,
    nodes: list[list[int]],
    threads: int,
    wanted: list[tuple[str, str]],
) -> None:
    arguments = {"slots": len(wanted), "physical": True, "tree": tree(tmp_path, nodes, threads)}
    assert slots(run_module(ffrtmp_slot_cpus_info, **arguments)) == wanted


def test_a_node_without_memory_gets_no_memory_nodes(run_module: RunModule, tmp_path: Path) -> None:
    arguments = {"slots": 2, "physical": True, "tree": tree(tmp_path, [[0], [1]], memory="0")}
    found = slots(run_module(ffrtmp_slot_cpus_info, **arguments))
    assert found == [("0", "0"), ("1", "")]


def test_a_core_whose_first_thread_is_offline_counts(run_module: RunModule, tmp_path: Path) -> None:
    path = tree(tmp_path, [[0, 1]], 2)
    (tmp_path / "cpu/online").write_text("1-3\n")
    found = run_module(ffrtmp_slot_cpus_info, slots=1, physical=True, tree=path)
    assert slots(found) == [("1,2", "0")]


def test_a_kernel_without_nodes_and_siblings_has_cpus(
    run_module: RunModule, tmp_path: Path
) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/online").write_text("0-1\n")
    found = run_module(ffrtmp_slot_cpus_info, slots=2, physical=True, tree=str(tmp_path))
    assert slots(found) == [("0", ""), ("1", "")]


def test_this_host_can_be_divided(run_module: RunModule) -> None:
    ((cpus, _),) = slots(run_module(ffrtmp_slot_cpus_info, slots=1, physical=True))
    assert {int(cpu) for cpu in cpus.split(",")} <= set(range(os.cpu_count() or 1))


def test_listed_cpus_and_nodes_are_assigned(run_module: RunModule, tmp_path: Path) -> None:
    path = tree(tmp_path, [[0, 1], [2, 3]])
    arguments = {"slots": 2, "cpus": ["0-1", "2,3"], "memory_nodes": ["0", "1"], "tree": path}
    assert slots(run_module(ffrtmp_slot_cpus_info, **arguments)) == [("0-1", "0"), ("2,3", "1")]
    arguments["cpus"] = []
    assert slots(run_module(ffrtmp_slot_cpus_info, **arguments)) == [("", "0"), ("", "1")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slots": 5, "physical": True}, "5 slots cannot have separate physical cores"),
        ({"slots": 0, "physical": True}, "slots must be a whole number from 1"),
        ({"slots": 1, "physical": True, "cpus": ["0"]}, "cannot be listed"),
        ({"slots": 1, "physical": True, "memory_nodes": ["0"]}, "cannot be listed"),
        ({"slots": 2, "cpus": ["0"]}, "worker_slot_cpus has 1 entries for 2 slots"),
        ({"slots": 1, "memory_nodes": ["0", "1"]}, "has 2 entries for 1 slots"),
        ({"slots": 1, "cpus": ["2-4"]}, "slot 1 has '2-4'; this host's CPUs: 0, 1, 2, 3"),
        ({"slots": 2, "cpus": ["0-2", "2-3"]}, "slots 1 and 2 share 2"),
        ({"slots": 1, "cpus": [""]}, "'' is not a set of numbers"),
        ({"slots": 1, "cpus": ["3-0"]}, "slot 1 has '3-0'"),
        ({"slots": 1, "cpus": ["all"]}, "'all' is not a set of numbers"),
        ({"slots": 1, "memory_nodes": ["2"]}, "nodes with memory: 0, 1"),
    ],
)
def test_invalid_assignments_are_refused(
    run_module: RunModule, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    path = tree(tmp_path, [[0, 1], [2, 3]])
    answer = run_module(ffrtmp_slot_cpus_info, **arguments, tree=path)
    assert answer["rc"] == 1
    assert message in answer["msg"]


def test_a_host_without_cpu_information_is_refused(run_module: RunModule, tmp_path: Path) -> None:
    answer = run_module(ffrtmp_slot_cpus_info, slots=1, tree=str(tmp_path))
    assert "cpu/online cannot be read" in answer["msg"]
