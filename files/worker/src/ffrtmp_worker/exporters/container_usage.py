"""Usage of CPU time, memory and block devices by a container, from the Engine's statistics."""

from collections.abc import Iterable

import msgspec

_NS_PER_S = 1e9


class NetworkCounts(msgspec.Struct, frozen=True):
    """Traffic of one network interface since the container was started."""

    rx_bytes: int
    tx_bytes: int
    rx_dropped: int = 0
    tx_dropped: int = 0


class _CpuUsage(msgspec.Struct, frozen=True):
    total_usage: int = 0
    usage_in_usermode: int | None = None
    usage_in_kernelmode: int | None = None


class _Throttling(msgspec.Struct, frozen=True):
    throttled_periods: int | None = None
    throttled_time: int | None = None


class _Cpu(msgspec.Struct, frozen=True):
    cpu_usage: _CpuUsage = _CpuUsage()
    throttling_data: _Throttling | None = None


class _Memory(msgspec.Struct, frozen=True):
    usage: int | None = None
    limit: int | None = None
    stats: dict[str, float] | None = None


class _BlockCount(msgspec.Struct, frozen=True):
    op: str
    value: int


class _Block(msgspec.Struct, frozen=True):
    io_service_bytes_recursive: list[_BlockCount] | None = None


class ContainerStatistics(msgspec.Struct, frozen=True):
    """The statistics of a container that the Engine returns."""

    cpu_stats: _Cpu | None = None
    memory_stats: _Memory | None = None
    blkio_stats: _Block | None = None
    networks: dict[str, NetworkCounts] | None = None


def usage_values(stats: ContainerStatistics) -> dict[str, float]:
    """Return the known values of the statistics by name. The names include the units."""
    cpu, memory = stats.cpu_stats or _Cpu(), stats.memory_stats or _Memory()
    throttling = cpu.throttling_data or _Throttling()
    known: dict[str, float | None] = {
        "cpu_user_s": _seconds(cpu.cpu_usage.usage_in_usermode),
        "cpu_system_s": _seconds(cpu.cpu_usage.usage_in_kernelmode),
        "cpu_throttled_s": _seconds(throttling.throttled_time),
        "memory_bytes": _without_cache(memory),
        "memory_limit_bytes": memory.limit,
        "block_read_bytes": _transferred_bytes(stats.blkio_stats or _Block(), "read"),
        "block_write_bytes": _transferred_bytes(stats.blkio_stats or _Block(), "write"),
    }
    return {name: float(value) for name, value in known.items() if value is not None}


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / _NS_PER_S


def _without_cache(memory: _Memory) -> float | None:
    """Return the memory in use as `docker stats` shows it, without inactive cached files."""
    if memory.usage is None:
        return None
    counts = memory.stats or {}
    # cgroup v1 has both names; the one without "total" excludes nested groups.
    cached = counts.get("total_inactive_file", counts.get("inactive_file", 0))
    return max(memory.usage - cached, 0)


def _transferred_bytes(block: _Block, operation: str) -> int | None:
    """Return the bytes transferred by all devices, or None if the kernel does not count them."""
    counts: Iterable[_BlockCount] | None = block.io_service_bytes_recursive
    if counts is None:
        return None
    # cgroup v1 capitalizes the names.
    return sum(count.value for count in counts if count.op.lower() == operation)
