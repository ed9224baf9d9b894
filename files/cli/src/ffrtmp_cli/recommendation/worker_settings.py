"""Settings of a worker that suit the capacity of its host."""

import json
from collections.abc import Iterator

import msgspec
from ffrtmp_client.cpu_assignment import physical
from ffrtmp_shared.comparison_threads import MAX_THREADS

from ffrtmp_cli.recommendation.capacity import Capacity

GIB = 1024**3

SLOT_CORES = 4
"""Cores of a slot that shares its host. With fewer, encoders with many threads (x265, SVT-AV1) do
not reach their usual speed."""

SLOT_BYTES = 4 * GIB
"""Memory of a slot that shares its host: an encode of 2160 lines needs 2 to 3 GiB."""

_DEFAULT_CACHE_BYTES = 10 * GIB
_CACHE_SHARE = 4
"""The cache gets at most this fraction of the free space (a quarter)."""

_HOST_SHARE_PERCENT = 90
"""Percentage of the memory for the slots; the rest is for the host."""

SettingValue = int | bool | str | list[str]


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of the inventory with its recommended value.

    Attributes:
        name: The name of the variable.
        value: The value.
        reason: The reason for the value.
    """

    name: str
    value: SettingValue
    reason: str


def shared_slots(capacity: Capacity) -> int:
    """Return the number of slots for jobs that share the host, such as long encodes.

    Each slot has at least four cores and 4 GiB. If the host has several memory nodes, each of them
    has the same number of slots.
    """
    cores = len(capacity.fast_host.cores)
    memory_slots = (capacity.memory_bytes or SLOT_BYTES) // SLOT_BYTES
    slots = max(min(cores // SLOT_CORES, memory_slots), 1)
    nodes = max(len(capacity.host.memory_nodes), 1)
    return slots - slots % nodes if slots >= nodes else slots


def recommend(capacity: Capacity, slots: int | None, *, is_shared: bool) -> list[Setting]:
    """Return the recommended settings.

    Args:
        capacity: The capacity of the host.
        slots: The number of slots, or None to choose it.
        is_shared: Whether jobs share the host, if the number is to be chosen.

    Raises:
        PinningError: The host has fewer cores than slots.
    """
    chosen, reason = _slots(capacity, slots, is_shared=is_shared)
    return [
        Setting(name="worker_slots", value=chosen, reason=reason),
        *_cpus(capacity, chosen),
        *_memory(capacity, chosen),
        *_disk(capacity, chosen),
        *_tuning(capacity),
    ]


def as_yaml(settings: list[Setting]) -> str:
    """Return settings as YAML, each below a comment with its reason."""
    # Any JSON value is also one of YAML.
    return "\n".join(
        f"# {setting.reason}\n{setting.name}: {json.dumps(setting.value)}" for setting in settings
    )


def _slots(capacity: Capacity, slots: int | None, *, is_shared: bool) -> tuple[int, str]:
    if slots is not None:
        return slots, "The requested number of slots."
    if is_shared:
        return (
            shared_slots(capacity),
            f"For jobs that share the host, slots with at least {SLOT_CORES} cores and "
            f"{SLOT_BYTES // GIB} GiB each. Benchmarks still reserve the whole host.",
        )
    reason = "A benchmark reserves its host, so further slots would wait."
    possible = shared_slots(capacity)
    if possible > 1:
        reason += f" For jobs that share the host, use {possible} slots (--shared)."
    return 1, reason


def _cpus(capacity: Capacity, slots: int) -> Iterator[Setting]:
    host = capacity.fast_host if capacity.is_hybrid else capacity.host
    assigned = physical(host, slots)
    cores = len(host.cores) // slots
    note = "" if capacity.has_cgroup_v2 else " Without cgroup v2, programs can leave their CPUs."
    if slots == 1:
        yield from _single_slot(capacity, note)
        threads = len(host.online)
    else:
        threads = cores
        cpus = "; ".join(f"slot {number}: {slot.cpus}" for number, slot in enumerate(assigned, 1))
        if capacity.is_hybrid:
            value: SettingValue = [slot.cpus for slot in assigned]
            reason = f"{cores} fast cores for each slot, one thread of each. The others are unused."
        else:
            value = "physical"
            reason = f"{cores} cores for each slot, one thread of each ({cpus})."
        yield Setting(name="worker_slot_cpus", value=value, reason=reason + note)
    yield Setting(
        name="worker_vmaf_threads",
        value=min(max(threads, 1), MAX_THREADS),
        reason="Quality is measured with as many threads as the slot has CPUs, at most "
        f"{MAX_THREADS}, because each needs memory.",
    )


def _single_slot(capacity: Capacity, note: str) -> Iterator[Setting]:
    host = capacity.host
    if capacity.is_hybrid:
        yield Setting(
            name="worker_slot_cpus",
            value=[_ranges(capacity.fast_cpus)],
            reason="Only the fast cores: the speed of an encode would depend on the type of the "
            f"cores on which its threads happen to run.{note}",
        )
        return
    nodes = len(host.memory_nodes)
    reason = f"One slot uses all {len(host.online)} CPUs ({len(host.cores)} cores)."
    if nodes > 1:
        reason += (
            f" They belong to {nodes} memory nodes, so the speed depends on the placement of "
            f"memory; with --slots {nodes}, each slot is on one node."
        )
    yield Setting(name="worker_slot_cpus", value="", reason=reason)


def _memory(capacity: Capacity, slots: int) -> Iterator[Setting]:
    percent = max(_HOST_SHARE_PERCENT // slots, 1)
    reason = f"{100 - percent * slots} % of the memory remain for the host."
    if capacity.memory_bytes is not None:
        slot_bytes = capacity.memory_bytes * percent // 100
        reason = f"{slot_bytes / GIB:.1f} GiB for each slot; {reason}"
        if slot_bytes < SLOT_BYTES * 3 // 4:
            reason += " This is too little for 2160 lines, which need 2 to 3 GiB."
    yield Setting(name="worker_memory_max", value=f"{percent}%", reason=reason)


def _disk(capacity: Capacity, slots: int) -> Iterator[Setting]:
    cache_bytes = min(_DEFAULT_CACHE_BYTES, capacity.free_bytes // _CACHE_SHARE)
    yield Setting(
        name="worker_cache_max_bytes",
        value=cache_bytes,
        reason=f"{cache_bytes / GIB:.1f} of {capacity.free_bytes / GIB:.1f} GiB free space for "
        "cached sources. A source has to fit into the cache.",
    )
    yield Setting(
        name="worker_min_free_bytes",
        value=slots * GIB,
        reason="1 GiB for the output of each slot; with less free space, no job is started.",
    )


def _tuning(capacity: Capacity) -> Iterator[Setting]:
    if capacity.has_frequency_control:
        reason = "Fixed frequency during runs: governor performance, without turbo."
    else:
        reason = "This host has no frequency control; only background timers are stopped."
    yield Setting(name="host_tuning_enabled", value=True, reason=reason)


def _ranges(cpus: frozenset[int]) -> str:
    """Return numbers in the kernel's notation, such as 0-3,8."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and parts[-1][-1] == cpu - 1:
            parts[-1].append(cpu)
        else:
            parts.append([cpu])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
