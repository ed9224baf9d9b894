"""Assignment of CPUs and memory nodes to the slots of a host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

# The kernel supports at most 8192 CPUs and 1024 nodes. A longer number would be a very large set.
_RANGE = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?")


class PinningError(Exception):
    """Request for CPUs or memory nodes that the host does not have."""


class Core(NamedTuple):
    """A physical core.

    cpu: Number of the first online CPU (hardware thread) of the core.
    node: NUMA node of the core, or None if it is unknown.
    """

    cpu: int
    node: int | None


class Slot(NamedTuple):
    """CPUs and memory nodes of one slot, in systemd's notation. Empty means no limit."""

    cpus: str
    memory_nodes: str


class Host(NamedTuple):
    """CPUs and memory of a host.

    online: CPUs that are online.
    cores: Physical cores.
    memory_nodes: NUMA nodes that have memory.
    """

    online: frozenset[int]
    cores: tuple[Core, ...]
    memory_nodes: frozenset[int]


def read_host(tree: Path) -> Host:
    """Read the description of the host from `tree`, normally /sys/devices/system.

    A CPU without information about its siblings is considered a separate core. Raises
    PinningError if the description cannot be read.
    """
    online = _numbers(_text(tree / "cpu/online"))
    cores = []
    for cpu in sorted(online):
        folder = tree / f"cpu/cpu{cpu}"
        siblings = folder / "topology/thread_siblings_list"
        threads = _numbers(_text(siblings)) if siblings.exists() else {cpu}
        if cpu == min(threads & online, default=cpu):
            nodes = [int(node.name.removeprefix("node")) for node in folder.glob("node[0-9]*")]
            cores.append(Core(cpu, min(nodes, default=None)))
    memory = tree / "node/has_memory"
    nodes_with_memory = _numbers(_text(memory)) if memory.exists() else set()
    return Host(frozenset(online), tuple(cores), frozenset(nodes_with_memory))


def physical(host: Host, slots: int) -> list[Slot]:
    """Assign the same number of physical cores to each slot, from one NUMA node if possible.

    A slot gets one thread of each of its cores. Remaining cores are not used, because measurements
    of slots of different sizes are not comparable. Raises PinningError if there are more slots
    than cores.
    """
    size = len(host.cores) // slots if slots > 0 else 0
    if size == 0:
        raise PinningError(
            f"{slots} slots cannot have separate physical cores: this host has {len(host.cores)} "
            "cores. Lower worker_slots"
        )
    free: dict[int | None, list[Core]] = {}
    for core in host.cores:
        free.setdefault(core.node, []).append(core)
    return [_slot(_allocate(free, size), host) for _ in range(slots)]


def listed(host: Host, slots: int, cpus: Sequence[str], memory_nodes: Sequence[str]) -> list[Slot]:
    """Validate the listed CPUs and memory nodes, and assign them to the slots.

    Args:
        host: The host.
        slots: Number of slots.
        cpus: CPUs of each slot. An empty list sets no limit.
        memory_nodes: Memory nodes of each slot. An empty list sets no limit.

    Raises:
        PinningError: A list does not have one entry for each slot, the host does not have an
            entry's CPUs or memory nodes, or two slots share a CPU.
    """
    for name, entries in (("worker_slot_cpus", cpus), ("worker_slot_memory_nodes", memory_nodes)):
        if entries and len(entries) != slots:
            raise PinningError(f"{name} has {len(entries)} entries for {slots} slots")
    taken: dict[int, int] = {}
    for slot, entry in enumerate(cpus, 1):
        found = _present(f"worker_slot_cpus: slot {slot}", entry, host.online, "CPUs")
        for cpu in sorted(found):
            if taken.setdefault(cpu, slot) != slot:
                raise PinningError(f"worker_slot_cpus: slots {taken[cpu]} and {slot} share {cpu}")
    for slot, entry in enumerate(memory_nodes, 1):
        name = f"worker_slot_memory_nodes: slot {slot}"
        _present(name, entry, host.memory_nodes, "nodes with memory")
    return [
        Slot(cpus[slot] if cpus else "", memory_nodes[slot] if memory_nodes else "")
        for slot in range(slots)
    ]


def _allocate(free: Mapping[int | None, list[Core]], size: int) -> list[Core]:
    # Use the smallest NUMA node with enough free cores, so that nodes with many free cores remain
    # for later slots. If no node has enough, use as few nodes as possible.
    enough = [cores for cores in free.values() if len(cores) >= size]
    most_first = sorted(free.values(), key=len, reverse=True)
    sources = [min(enough, key=len)] if enough else most_first
    taken: list[Core] = []
    for cores in sources:
        count = size - len(taken)
        taken += cores[:count]
        del cores[:count]
    return taken


def _slot(cores: Iterable[Core], host: Host) -> Slot:
    cpus = sorted(core.cpu for core in cores)
    nodes = {core.node for core in cores if core.node is not None} & host.memory_nodes
    return Slot(",".join(str(cpu) for cpu in cpus), ",".join(str(node) for node in sorted(nodes)))


def _present(name: str, entry: str, available: frozenset[int], label: str) -> set[int]:
    try:
        found = _numbers(entry)
    except PinningError as error:
        raise PinningError(f"{name}: {error}") from None
    if not found or not found <= available:
        numbers = ", ".join(str(number) for number in sorted(available)) or "none"
        raise PinningError(f"{name} has {entry!r}; this host's {label}: {numbers}")
    return found


def _numbers(text: str) -> set[int]:
    """Return the numbers of a set in the kernel's notation, such as 0-3,8."""
    found: set[int] = set()
    for part in re.split(r"[,\s]+", text.strip()):
        if not _RANGE.fullmatch(part):
            raise PinningError(f"{text[:80]!r} is not a set of numbers such as 0-3,8")
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise PinningError(f"{file} cannot be read: {error}") from error
