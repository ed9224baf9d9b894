"""Tests of the metrics of the worker's exporters, and of values that must be missing."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import httpx
import promtool
import pytest
import trustme
from ffrtmp_shared import __version__
from ffrtmp_shared.loop_registry import LoopReading, LoopRegistry
from ffrtmp_shared.stages import Stage
from ffrtmp_worker.activity import (
    REPEAT_AFTER_S,
    ActivitySender,
    LastResult,
    SlotActivity,
    SpoolCounts,
)
from ffrtmp_worker.energy import client as energy_client
from ffrtmp_worker.energy.client import EnergyFailure, EnergyReading, ZoneReading, request_reading
from ffrtmp_worker.exporters import cpu, docker_stats, ffmpeg, gpu
from ffrtmp_worker.exporters.cpu import CpuCollector, EnergyCollector
from ffrtmp_worker.exporters.ffmpeg import (
    DatagramReceiver,
    SlotCollector,
    SlotRegistry,
    listen,
)
from ffrtmp_worker.exporters.slots import SlotUseCollector
from polling import wait_until
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector


def _scrape(collector: Collector) -> list[str]:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode().splitlines()


def _samples(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("#")]


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="ascii")


def _activity(frames: int, stage: str = "encode", **more: object) -> SlotActivity:
    settings = {"kind": "transcode", "encoder": "libx264", "fps": 50.0, "speed": 2.0} | more
    return SlotActivity(slot=1, stage=stage, frames=frames, **settings)  # type: ignore[arg-type]


def _no_energy() -> EnergyReading:
    return EnergyReading(
        monotonic_s=1.0,
        zones={},
        gaps=0,
        reason="the kernel offers no energy counter",
        failure=EnergyFailure.NO_COUNTER,
    )


def _energy() -> EnergyReading:
    zones = {
        "package-0": ZoneReading(joules=12.5, watts=30.25),
        "package-0-dram": ZoneReading(joules=1.5, watts=None),
    }
    return EnergyReading(monotonic_s=1.0, zones=zones, gaps=2, reason="")


def test_cpu_seconds_and_load_of_this_host() -> None:
    lines = _scrape(CpuCollector())
    idle = [line for line in lines if line.startswith("ffrtmp_node_cpu_seconds_total")]
    assert any('cpu="0",mode="idle"' in line and float(line.split()[-1]) > 0 for line in idle)
    assert any('mode="steal"' in line for line in idle)
    assert not any("guest" in line for line in idle)
    assert any(line.startswith('ffrtmp_node_load_average{minutes="1"}') for line in lines)


def test_a_missing_energy_counter_is_reported_without_a_value() -> None:
    lines = _scrape(EnergyCollector(_no_energy))
    assert "ffrtmp_energy_available 0.0" in lines
    assert 'ffrtmp_energy_failure_info{reason="no_counter"} 1.0' in lines
    assert not any(line.startswith(("ffrtmp_energy_joules", "ffrtmp_power")) for line in lines)


def _answering(answer: bytes) -> Callable[[socket.socket], None]:
    def answer_once(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(answer)

    return answer_once


def test_the_causes_of_missing_energy_are_fixed_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy_client, "_TIMEOUT_S", 0.1)
    path = tmp_path / "energy.sock"

    def words() -> list[str]:
        lines = _samples(_scrape(EnergyCollector(lambda: request_reading(path))))
        assert "ffrtmp_energy_available 0.0" in lines
        return [line for line in lines if "reason=" in line]

    assert words() == ['ffrtmp_energy_failure_info{reason="reader_unreachable"} 1.0']
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        assert words() == ['ffrtmp_energy_failure_info{reason="reader_timeout"} 1.0']
        listener.accept()[0].close()
        thread = threading.Thread(target=_answering(b"not json"), args=(listener,))
        thread.start()
        assert words() == ['ffrtmp_energy_failure_info{reason="invalid_answer"} 1.0']
        thread.join()


def test_an_endless_answer_of_the_energy_reader_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "energy.sock"
    sent = []

    def answer_endlessly(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            while True:
                sent.append(connection.send(b" " * 65536))

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=answer_endlessly, args=(listener,))
        thread.start()
        assert request_reading(path).failure is EnergyFailure.INVALID_ANSWER
        thread.join()
    assert sum(sent) < 4 * 1024 * 1024


def test_energy_and_power_come_from_the_reader() -> None:
    lines = _scrape(EnergyCollector(_energy))
    assert "ffrtmp_energy_available 1.0" in lines
    assert not any(line.startswith("ffrtmp_energy_failure_info") for line in lines)
    assert 'ffrtmp_energy_joules_total{zone="package-0"} 12.5' in lines
    assert 'ffrtmp_energy_joules_total{zone="package-0-dram"} 1.5' in lines
    assert "ffrtmp_energy_gaps_total 2.0" in lines
    watts = [line for line in lines if line.startswith("ffrtmp_power_watts")]
    assert watts == ['ffrtmp_power_watts{zone="package-0"} 30.25']


def test_throttling_is_counted_by_core_and_by_package(tmp_path: Path) -> None:
    samples = _samples(_scrape(CpuCollector(tmp_path)))
    assert not any("throttles" in line for line in samples)
    for cpu_number, core in enumerate((0, 0, 1)):
        _write(tmp_path / f"cpu{cpu_number}/topology/physical_package_id", "0\n")
        _write(tmp_path / f"cpu{cpu_number}/topology/core_id", f"{core}\n")
        _write(tmp_path / f"cpu{cpu_number}/thermal_throttle/core_throttle_count", f"{core + 3}\n")
        _write(tmp_path / f"cpu{cpu_number}/thermal_throttle/package_throttle_count", "7\n")
    lines = _scrape(CpuCollector(tmp_path))
    assert [line for line in _samples(lines) if "throttles" in line] == [
        'ffrtmp_node_package_throttles_total{package="0"} 7.0',
        'ffrtmp_node_core_throttles_total{core="0",package="0"} 3.0',
        'ffrtmp_node_core_throttles_total{core="1",package="0"} 4.0',
    ]
    assert promtool.complaints("\n".join([*lines, ""])) == ""


def _slot(cgroups: Path, slot: object, **files: str) -> Path:
    """Create the files that systemd and the kernel would create for a slot's control group."""
    parent = cgroups / "system.slice/system-ffrtmp\\x2dagent.slice"
    folder = parent / f"ffrtmp-agent@{slot}.service"
    for name, text in files.items():
        _write(folder / name.replace("_", "."), text)
    return folder


_CPU_STAT = (
    "usage_usec 3500000\nuser_usec 3000000\nsystem_usec 500000\n"
    "nr_periods 90\nnr_throttled 4\nthrottled_usec 250000\n"
)


def test_slot_use_is_read_from_its_control_group(tmp_path: Path) -> None:
    _slot(tmp_path, 1, cpu_stat=_CPU_STAT, memory_current="1048576\n", memory_peak="4194304\n")
    lines = _scrape(SlotUseCollector(tmp_path))
    assert _samples(lines) == [
        'ffrtmp_slot_cpu_seconds_total{mode="user",slot="1"} 3.0',
        'ffrtmp_slot_cpu_seconds_total{mode="system",slot="1"} 0.5',
        'ffrtmp_slot_cpu_throttled_periods_total{slot="1"} 4.0',
        'ffrtmp_slot_cpu_throttled_seconds_total{slot="1"} 0.25',
        'ffrtmp_slot_memory_bytes{slot="1"} 1.048576e+06',
        'ffrtmp_slot_memory_peak_bytes{slot="1"} 4.194304e+06',
    ]
    assert promtool.complaints("\n".join([*lines, ""])) == ""


def test_stopped_slots_and_uncounted_values_have_no_sample(tmp_path: Path) -> None:
    assert _samples(_scrape(SlotUseCollector(tmp_path / "nowhere"))) == []
    stopped = _slot(tmp_path, 1, cpu_stat=_CPU_STAT)
    # Slot 2 is on an old kernel without memory.peak and does not have the cpu controller. The other
    # units are not slots.
    _slot(tmp_path, 2, cpu_stat="usage_usec 9\n", memory_current="512\n")
    _slot(tmp_path, "strange", memory_current="1024\n")
    _slot(tmp_path, 99999, memory_current="1024\n")
    collector = SlotUseCollector(tmp_path)
    assert any('slot="1"' in line for line in _samples(_scrape(collector)))
    shutil.rmtree(stopped)
    assert _samples(_scrape(collector)) == ['ffrtmp_slot_memory_bytes{slot="2"} 512.0']


def test_a_slot_is_found_in_another_slice(tmp_path: Path) -> None:
    _write(tmp_path / "bench.slice/ffrtmp-agent@3.service/memory.current", "7\n")
    assert _samples(_scrape(SlotUseCollector(tmp_path))) == [
        'ffrtmp_slot_memory_bytes{slot="3"} 7.0'
    ]


def test_promtool_accepts_the_metrics() -> None:
    slots = SlotRegistry()
    last = LastResult(kind="transcode", encoder="libx264", vmaf_mean=90.0)
    slots.update(
        _activity(10, bitrate_bps=1.0, lag_s=1.0, duplicated_frames=0, dropped_frames=0, last=last)
    )
    lines = [
        *_scrape(CpuCollector()),
        *_scrape(EnergyCollector(_energy)),
        *_scrape(SlotCollector(slots)),
    ]
    assert any(line.startswith("ffrtmp_energy_joules_total{") for line in lines)
    assert any(line.startswith("ffrtmp_ffmpeg_stage{") for line in lines)
    assert promtool.complaints("\n".join([*lines, ""])) == ""


def test_frames_only_increase_and_stale_slots_are_idle() -> None:
    now = 0.0
    slots = SlotRegistry(lambda: now)
    for activity in (_activity(10), _activity(30), _activity(0, "report"), _activity(5)):
        slots.update(activity)
    lines = _scrape(SlotCollector(slots))
    assert 'ffrtmp_ffmpeg_frames_total{slot="1"} 35.0' in lines
    assert 'ffrtmp_ffmpeg_running{slot="1"} 1.0' in lines
    labels = '{encoder="libx264",kind="transcode",slot="1"}'
    assert f"ffrtmp_ffmpeg_frames_per_second{labels} 50.0" in lines
    assert f"ffrtmp_ffmpeg_speed_ratio{labels} 2.0" in lines
    now = 31.0
    lines = _scrape(SlotCollector(slots))
    assert 'ffrtmp_ffmpeg_running{slot="1"} 0.0' in lines
    assert 'ffrtmp_ffmpeg_frames_total{slot="1"} 35.0' in lines
    assert not any(line.startswith("ffrtmp_ffmpeg_speed_ratio{") for line in lines)


def test_a_slot_without_an_agent_for_a_day_is_forgotten() -> None:
    now = 0.0
    slots = SlotRegistry(lambda: now)
    slots.update(_activity(10))
    now = 3600.0
    assert 'ffrtmp_ffmpeg_stage{slot="1",stage="idle"} 1.0' in _scrape(SlotCollector(slots))
    now = 24 * 3600.0
    assert _samples(_scrape(SlotCollector(slots))) == []


def test_slots_that_the_worker_no_longer_has_are_ignored() -> None:
    """An agent of a removed slot that is killed cannot report that its loops have ended."""
    slots = SlotRegistry(slots=1)
    loop = LoopReading(
        name="claims", last_success_unix_s=1.0, failures=0, items_set_aside=0, stale_after_s=300.0
    )
    for slot in (1, 2):
        slots.update(SlotActivity(slot=slot, stage="idle", loops=(loop,)))
    lines = _samples(_scrape(SlotCollector(slots)))
    limit = "ffrtmp_agent_loop_stale_after_seconds"
    found = [line for line in lines if line.startswith(limit)]
    assert found == [f'{limit}{{loop="claims",slot="1"}} 300.0']
    assert not any('slot="2"' in line for line in lines)


def test_a_running_encode_has_only_samples_of_known_values() -> None:
    slots = SlotRegistry()
    slots.update(
        _activity(
            50,
            kind="live",
            bitrate_bps=2e6,
            lag_s=0.25,
            duplicated_frames=2,
            fps=25.0,
            spool=SpoolCounts(pending=3, deferred=2, rejected=1),
        )
    )
    labels = '{encoder="libx264",kind="live",slot="1"}'
    assert _samples(_scrape(SlotCollector(slots))) == [
        'ffrtmp_ffmpeg_running{slot="1"} 1.0',
        'ffrtmp_ffmpeg_frames_total{slot="1"} 50.0',
        'ffrtmp_ffmpeg_duplicated_frames_total{slot="1"} 2.0',
        f"ffrtmp_ffmpeg_frames_per_second{labels} 25.0",
        f"ffrtmp_ffmpeg_speed_ratio{labels} 2.0",
        f"ffrtmp_ffmpeg_video_rate_bytes_per_second{labels} 250000.0",
        f"ffrtmp_ffmpeg_lag_seconds{labels} 0.25",
        *(
            f'ffrtmp_ffmpeg_stage{{slot="1",stage="{stage}"}} {float(stage == "encode")}'
            for stage in (*Stage, "other", "idle")
        ),
        'ffrtmp_ffmpeg_reports{slot="1",state="pending"} 3.0',
        'ffrtmp_ffmpeg_reports{slot="1",state="deferred"} 2.0',
        'ffrtmp_ffmpeg_reports{slot="1",state="rejected"} 1.0',
    ]


def test_counters_continue_across_encodes_and_gaps() -> None:
    slots = SlotRegistry()
    for activity in (
        _activity(10, dropped_frames=3),
        _activity(20),  # This datagram does not contain the number of dropped frames.
        _activity(30, dropped_frames=4),
        _activity(0, "output_check"),
        _activity(30, "quality"),
        _activity(0, "report"),
        _activity(0, "fetch"),
        _activity(8, dropped_frames=2),
        _activity(9, dropped_frames=2),
    ):
        slots.update(activity)
    lines = _samples(_scrape(SlotCollector(slots)))
    assert 'ffrtmp_ffmpeg_dropped_frames_total{slot="1"} 6.0' in lines
    assert 'ffrtmp_ffmpeg_frames_total{slot="1"} 39.0' in lines
    assert not any("duplicated" in line for line in lines)


def test_a_stage_of_another_release_counts_as_other() -> None:
    slots = SlotRegistry()
    slots.update(_activity(5, "future"))
    lines = _scrape(SlotCollector(slots))
    assert 'ffrtmp_ffmpeg_running{slot="1"} 1.0' in lines
    assert 'ffrtmp_ffmpeg_stage{slot="1",stage="other"} 1.0' in lines


def test_an_old_datagram_is_sent_again(tmp_path: Path) -> None:
    now_s = 100.0
    path = tmp_path / "progress.sock"
    with listen(path) as opened:
        opened.setblocking(False)
        sender = ActivitySender(path, LoopRegistry(), lambda: now_s)
        sender.send(_activity(5, "quality"))
        sent = opened.recv(4096)
        now_s += REPEAT_AFTER_S - 1
        sender.repeat()
        with pytest.raises(BlockingIOError):
            opened.recv(4096)
        now_s += 1
        sender.repeat()
        sender.repeat()
        assert opened.recv(4096) == sent
        with pytest.raises(BlockingIOError):
            opened.recv(4096)
        sender.close()


def test_the_last_quality_is_exported_until_a_result_has_none() -> None:
    now = 0.0
    slots = SlotRegistry(lambda: now)
    good = LastResult(kind="transcode", encoder="libx265", vmaf_mean=93.5)
    shown = 'ffrtmp_ffmpeg_last_vmaf_mean{encoder="libx265",kind="transcode",slot="1"} 93.5'
    # An idle slot also sends its last result, for exporters that were started after the job.
    slots.update(SlotActivity(slot=1, stage="idle", last=good))
    assert shown in _scrape(SlotCollector(slots))
    slots.update(_activity(1, kind="live", last=good))
    assert shown in _scrape(SlotCollector(slots))
    now = 31.0
    assert shown not in _scrape(SlotCollector(slots))
    slots.update(_activity(1, last=LastResult(kind="live", encoder="libx264", vmaf_mean=None)))
    assert not any("last_vmaf" in line for line in _samples(_scrape(SlotCollector(slots))))


def test_labels_are_bounded() -> None:
    slots = SlotRegistry()
    strange = LastResult(kind="strange", encoder="made-up", vmaf_mean=1.0)
    slots.update(_activity(1, encoder="made-up", kind="strange", last=strange))
    slots.update(SlotActivity(slot=99_999, stage="encode"))
    lines = _scrape(SlotCollector(slots))
    assert any('encoder="other",kind="other",slot="1"' in line for line in lines)
    assert not any("99999" in line or "made-up" in line for line in lines)


@pytest.mark.slow
def test_datagrams_from_the_agent_arrive(tmp_path: Path) -> None:
    slots = SlotRegistry()
    path = tmp_path / "progress.sock"
    with listen(path) as opened:
        receiver = DatagramReceiver(opened, slots, LoopRegistry())
        receiver.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"not json", str(path))
        sender = ActivitySender(path, LoopRegistry())
        sender.send(_activity(7))
        sender.close()
        wait_until(
            lambda: any("frames_total" in s for s in _scrape(SlotCollector(slots)) if s[0] != "#"),
            "the activity of the slot is exported",
            interval_s=0.02,
        )
        receiver.stop()


def test_an_absent_or_blocked_exporter_does_not_delay_the_agent(tmp_path: Path) -> None:
    sender = ActivitySender(tmp_path / "missing.sock", LoopRegistry())
    sender.send(_activity(1))
    sender.close()
    with listen(tmp_path / "unread.sock"):
        sender = ActivitySender(tmp_path / "unread.sock", LoopRegistry())
        started = time.monotonic()
        for number in range(5000):
            sender.send(_activity(number))
        assert time.monotonic() - started < 5
        sender.close()


@pytest.mark.parametrize("module", [cpu, docker_stats, ffmpeg, gpu])
def test_the_version_is_printed(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        module.main(["--version"])
    assert caught.value.code == 0
    name = module.__name__.rpartition(".")[2]
    expected = rf"ffrtmp-exporter-{name} {re.escape(__version__)} \(revision \S+, Python \S+\)\n"
    assert re.fullmatch(expected, capsys.readouterr().out)


@pytest.mark.parametrize("main", [cpu.main, ffmpeg.main, gpu.main])
def test_an_invalid_settings_file_is_a_single_line(
    main: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "exporter.yml"
    file.write_text("exporter: 5\n", encoding="ascii")
    assert callable(main)
    with pytest.raises(SystemExit) as caught:
        main(["--config", str(file)])
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "socket_setting", "expected"),
    [
        ("cpu", "energy_socket", "ffrtmp_node_cpu_seconds_total"),
        ("ffmpeg", "progress_socket", "# TYPE ffrtmp_ffmpeg_running gauge"),
        ("gpu", "", "# TYPE ffrtmp_gpu_available gauge"),
    ],
)
def test_an_exporter_requires_a_client_certificate(
    module: str, socket_setting: str, expected: str, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = authority.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "exporter.yml").write_text(
        f"exporter: {{listen_address: 127.0.0.1, listen_port: {port}, "
        f"certificate_file: {tmp_path}/cert.pem, key_file: {tmp_path}/key.pem, "
        f"client_ca_file: {tmp_path}/ca.pem}}\n"
        + (f"{socket_setting}: {tmp_path}/some.sock\n" if socket_setting else ""),
        encoding="utf-8",
    )
    code = f"import sys; from ffrtmp_worker.exporters.{module} import main; sys.exit(main())"
    argv = [sys.executable, "-c", code, "--config", str(tmp_path / "exporter.yml")]
    with subprocess.Popen(argv, env=os.environ) as exporter:
        try:
            stranger = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
            scraper = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
            authority.issue_cert("monitoring").configure_cert(scraper)
            page = _get(port, scraper)
            assert expected in page
            costs = {line.split()[0]: line.split()[1] for line in _samples(page.splitlines())}
            for name in (
                "process_cpu_seconds_total",
                "process_resident_memory_bytes",
                'ffrtmp_certificate_not_after_timestamp_seconds{certificate="server",listener="metrics"}',
            ):
                assert float(costs[name]) > 0
            assert 'ffrtmp_exporter_build_info{python="' in page
            assert "ffrtmp_scrape_collector_success{" in page
            assert 'ffrtmp_scrape_collector_success{collector="process"} 1.0' in page
            assert promtool.complaints(page) == ""
            with pytest.raises(httpx.TransportError):
                httpx.get(f"https://127.0.0.1:{port}/metrics", verify=stranger)
            with (
                socket.create_connection(("127.0.0.1", port)),
                httpx.Client(verify=scraper, base_url=f"https://127.0.0.1:{port}") as client,
            ):
                assert client.get("/metrics").status_code == 200
                # One connection is silent and one is idle.
                exporter.send_signal(signal.SIGTERM)
                assert exporter.wait(5) == 0
        finally:
            exporter.kill()


def _get(port: int, context: ssl.SSLContext) -> str:
    """Wait until the exporter accepts connections, and return its metrics."""

    def page() -> str | None:
        try:
            return httpx.get(f"https://127.0.0.1:{port}/metrics", verify=context).text
        except httpx.ConnectError:
            return None

    return wait_until(page, "the exporter answers", interval_s=0.1)


def test_an_offline_cpu_does_not_shift_the_numbers_of_the_others(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    _write(
        tmp_path / "proc/stat",
        f"cpu  6 0 0 0 0 0 0 0\ncpu0 {ticks} 0 0 0 0 0 0 0 0 0\n"
        f"cpu2 {2 * ticks} 0 0 0 0 0 0 0 0 0\nintr 1\n",
    )
    for number, khz in ((0, "800000"), (2, "2400000")):
        _write(tmp_path / f"sys/cpu{number}/cpufreq/scaling_cur_freq", f"{khz}\n")
    # Reading the file of a CPU that is offline fails.
    (tmp_path / "sys/cpu1/cpufreq/scaling_cur_freq").mkdir(parents=True)
    lines = _scrape(CpuCollector(tmp_path / "sys", tmp_path / "proc"))
    assert 'ffrtmp_node_cpu_seconds_total{cpu="2",mode="user"} 2.0' in lines
    assert not [line for line in lines if 'cpu="1"' in line]
    assert 'ffrtmp_node_cpu_frequency_hertz{cpu="0"} 8e+08' in lines
    assert 'ffrtmp_node_cpu_frequency_hertz{cpu="2"} 2.4e+09' in lines


def test_frequencies_without_frequency_control_are_those_of_the_list(tmp_path: Path) -> None:
    _write(tmp_path / "stat", "cpu 1\n")
    _write(
        tmp_path / "cpuinfo",
        "processor\t: 0\ncpu MHz\t\t: 2000.0\n\nprocessor\t: 2\ncpu MHz\t\t: odd\n\n"
        "processor\t: 3\ncpu MHz\t\t: 3000.0\n",
    )
    lines = _scrape(CpuCollector(tmp_path, tmp_path))
    samples = [line for line in lines if line.startswith("ffrtmp_node_cpu_frequency_hertz{")]
    assert samples == [
        'ffrtmp_node_cpu_frequency_hertz{cpu="0"} 2e+09',
        'ffrtmp_node_cpu_frequency_hertz{cpu="3"} 3e+09',
    ]


class _Sensor(NamedTuple):
    """A sensor as psutil returns it."""

    label: str
    current: float


def test_unusual_sensors_do_not_end_the_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    label = b"SYS\xff".decode("utf-8", "surrogateescape")
    sensors = {"nct": [_Sensor(label, 30.0)]}
    monkeypatch.setattr(cpu.psutil, "sensors_temperatures", lambda: sensors)
    lines = _scrape(CpuCollector())
    (sample,) = [line for line in lines if line.startswith("ffrtmp_node_temperature_celsius{")]
    assert sample.startswith('ffrtmp_node_temperature_celsius{chip="nct",sensor="0:SYS')
    assert sample.endswith(" 30.0")

    def fail() -> None:
        raise RuntimeError("the sensors cannot be read")

    monkeypatch.setattr(cpu.psutil, "sensors_temperatures", fail)
    assert any(line.startswith("ffrtmp_node_load_average") for line in _scrape(CpuCollector()))
