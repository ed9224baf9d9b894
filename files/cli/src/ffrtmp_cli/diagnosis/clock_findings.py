"""Judgement of the clock: its source and its synchronization."""

from ffrtmp_worker.kernel_files import find_text

from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost
from ffrtmp_cli.diagnosis.findings import Finding, Status

_SLOW_SOURCES = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")
"""Sources that take a microsecond to read, or advance only with the timer interrupt."""


def check_clock(host: DiagnosedHost) -> list[Finding]:
    """Check the clock source and the synchronization of the clock."""
    return [_source(host), _synchronization(host)]


def _source(host: DiagnosedHost) -> Finding:
    folder = host.files.sys / "devices/system/clocksource/clocksource0"
    source = find_text(folder / "current_clocksource")
    if source is None:
        return Finding(
            id="clock-source",
            status=Status.UNAVAILABLE,
            found="the kernel does not report its clock source",
        )
    available = (find_text(folder / "available_clocksource") or "").split()
    if source in _SLOW_SOURCES:
        return Finding(
            id="clock-source",
            status=Status.WARNING,
            found=f"clock source {source} is slow to read (available: {', '.join(available)})",
            remedy="see the kernel's log for the reason (dmesg | grep -i clocksource); usually the "
            "firmware has to be updated. Programs that often read the time are slower",
        )
    return Finding(id="clock-source", status=Status.OK, found=f"clock source {source}")


def _synchronization(host: DiagnosedHost) -> Finding:
    synchronized = host.is_synchronized()
    if synchronized is None:
        return Finding(
            id="clock-synchronization",
            status=Status.UNAVAILABLE,
            found="the kernel does not report whether the clock is synchronized",
        )
    if synchronized:
        return Finding(
            id="clock-synchronization", status=Status.OK, found="the clock is synchronized"
        )
    return Finding(
        id="clock-synchronization",
        status=Status.WARNING,
        found="the clock is not synchronized: durations are right, but times of results and "
        "metrics of several hosts do not match, and certificates may seem invalid",
        remedy="sudo timedatectl set-ntp true, or install chrony",
    )
