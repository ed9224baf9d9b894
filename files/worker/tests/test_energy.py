"""Tests of energy measurements.

They use counters that wrap around, disappear, and have the same or a part of another one's energy.
"""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.host_environment import SlotEnvironment
from ffrtmp_shared.measurement import EnergyMeasurement
from ffrtmp_shared.scenario import DensitySettings
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker import kinds
from ffrtmp_worker.energy import zones
from ffrtmp_worker.energy.client import EnergyReading, request_reading
from ffrtmp_worker.energy.counter import Counts, EnergyCounter, load_counts, save_counts
from ffrtmp_worker.energy.reader import ANSWER_INTERVAL_S, READ_INTERVAL_S
from ffrtmp_worker.kernel_files import KernelFileError
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.measure.energy_meter import EnergyMeter
from polling import TIMEOUT_S, wait_until
from powercap import RANGE_UJ, Powercap, two_sockets

from .conftest import attempt, scenario, stages_of

_READER = Path(sys.executable).parent / "ffrtmp-energy-reader"


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _counter(cap: Powercap, clock: Clock, before: Counts | None = None) -> EnergyCounter:
    found = zones.find_zones(cap.tree, lambda _: None)
    return EnergyCounter(found, before or Counts(boot_id="boot"), max_power_w=1000.0, clock=clock)


def _joules(counter: EnergyCounter) -> dict[str, float]:
    return {name: zone.joules for name, zone in counter.read(0.0).zones.items()}


# --- selection of zones --------------------------------------------------------------------


def test_only_packages_and_memory_are_counted(tmp_path: Path) -> None:
    cap = two_sockets(tmp_path / "powercap")
    found = {zone.name: zone.folder.name for zone in zones.find_zones(cap.tree, lambda _: None)}
    assert found == {
        "package-0": "intel-rapl:0",
        "package-0-dram": "intel-rapl:0:2",
        "package-1": "intel-rapl:1",
        "package-1-dram": "intel-rapl:1:2",
    }


def test_a_package_available_only_over_mmio_is_counted(tmp_path: Path) -> None:
    cap = Powercap(tmp_path)
    cap.add("intel-rapl-mmio:0", "package-0", 5)
    assert [zone.folder.name for zone in zones.find_zones(cap.tree)] == ["intel-rapl-mmio:0"]


def test_memory_beside_the_packages_is_counted(tmp_path: Path) -> None:
    cap = Powercap(tmp_path)
    cap.add("intel-rapl:0", "package-0", 5)
    cap.add("intel-rapl:1", "dram", 7)
    assert [zone.name for zone in zones.find_zones(cap.tree)] == ["package-0", "dram-1"]


def test_dies_that_share_a_counter_are_counted_once(tmp_path: Path) -> None:
    cap = Powercap(tmp_path)
    for number, name in enumerate(("package-0-die-0", "package-0-die-1", "package-1-die-0")):
        cap.add(f"intel-rapl:{number}", name, 1_000 * (number // 2 + 1))

    def pass_time(_: float) -> None:
        for number, used in enumerate((70, 70, 60)):
            cap.use(f"intel-rapl:{number}", used)

    found = zones.find_zones(cap.tree, pass_time)
    assert [zone.name for zone in found] == ["package-0-die-0", "package-1-die-0"]


def test_constant_counters_are_not_mistaken_for_one(tmp_path: Path) -> None:
    cap = Powercap(tmp_path)
    cap.add("intel-rapl:0", "package-0", 0)
    cap.add("intel-rapl:1", "package-1", 0)
    assert len(zones.find_zones(cap.tree, lambda _: None)) == 2


def test_missing_and_invalid_counters_are_reported(tmp_path: Path) -> None:
    with pytest.raises(KernelFileError, match="no energy counter"):
        zones.find_zones(tmp_path / "nowhere")
    cap = Powercap(tmp_path / "range")
    cap.add("intel-rapl:0", "package-0", 5, range_uj=0)
    with pytest.raises(KernelFileError, match="max_energy_range_uj is 0"):
        zones.find_zones(cap.tree)
    cap = Powercap(tmp_path / "text")
    cap.add("intel-rapl:0", "package-0", 0)
    cap.add("intel-rapl:1", "package-1", 0)
    (cap.tree / "intel-rapl:1/energy_uj").write_text("none\n", encoding="ascii")
    with pytest.raises(KernelFileError, match="does not contain an integer"):
        zones.find_zones(cap.tree)


# --- counter ------------------------------------------------------------------------------


def test_joules_are_exact_over_many_wraparounds(tmp_path: Path) -> None:
    cap = two_sockets(tmp_path / "powercap")
    clock = Clock()
    counter = _counter(cap, clock)
    assert set(_joules(counter).values()) == {0.0}
    for step in range(10):
        clock.now_s += 50.0
        cap.use("intel-rapl:0", 45_000_000_000)
        cap.use("intel-rapl:0:2", 7_000_000 + step)
        for folder in ("intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:2", "intel-rapl-mmio:0"):
            cap.use(folder, 12_345_678)
        _joules(counter)
    assert _joules(counter) == {
        "package-0": pytest.approx(450_000.0, abs=1e-9),
        "package-0-dram": pytest.approx(70.000045, abs=1e-9),
        "package-1": 0.0,
        "package-1-dram": 0.0,
    }
    assert counter.read(0.0).gaps == 0


def test_power_does_not_depend_on_other_readers(tmp_path: Path) -> None:
    cap = Powercap(tmp_path)
    cap.add("intel-rapl:0", "package-0", 0)
    clock = Clock()
    counter = _counter(cap, clock)
    counter.sample()
    assert counter.read(0.0).zones["package-0"].watts is None
    for _ in range(4):
        clock.now_s += 0.5
        cap.use("intel-rapl:0", 20_000_000)
        counter.read(0.0)
    counter.sample()
    assert counter.read(0.0).zones["package-0"].watts == pytest.approx(40.0)


def test_a_possible_missed_wraparound_is_a_gap(tmp_path: Path) -> None:
    cap = Powercap(tmp_path)
    cap.add("intel-rapl:0", "package-0", 0)
    clock = Clock()
    counter = _counter(cap, clock)
    assert counter.slowest_interval_s == pytest.approx(131.07, abs=0.01)
    counter.sample()
    clock.now_s += 263.0
    cap.use("intel-rapl:0", 50_000_000)
    reading = counter.read(0.0)
    assert (reading.gaps, reading.zones["package-0"].joules) == (1, 0.0)
    clock.now_s += 1.0
    cap.use("intel-rapl:0", 50_000_000)
    assert _joules(counter) == {"package-0": pytest.approx(50.0)}


@pytest.mark.parametrize(("raw_uj", "after_s"), [(60_000_000, 2.0), (200_000_000_000, 1.0)])
def test_a_counter_that_restarts_or_jumps_is_a_gap(
    raw_uj: int, after_s: float, tmp_path: Path
) -> None:
    cap = Powercap(tmp_path)
    cap.add("intel-rapl:0", "package-0", 100_000_000_000)
    clock = Clock()
    counter = _counter(cap, clock)
    counter.sample()
    clock.now_s += after_s
    cap.set("intel-rapl:0", raw_uj)
    reading = counter.read(0.0)
    assert (reading.gaps, reading.zones["package-0"].joules) == (1, 0.0)
    clock.now_s += 1.0
    cap.use("intel-rapl:0", 50_000_000)
    assert _joules(counter) == {"package-0": pytest.approx(50.0)}


def test_counters_that_never_change_are_no_energy(tmp_path: Path) -> None:
    cap = two_sockets(tmp_path / "powercap")
    clock = Clock()
    counter = _counter(cap, clock)
    meter = EnergyMeter(lambda: counter.read(clock.now_s))
    meter.start()
    clock.now_s += 10.0
    cap.use("intel-rapl:0", 50_000_000)
    assert meter.finish() == Unavailable(
        reason="the energy counter of package-1 did not change in 10.0 s"
    )
    cap.use("intel-rapl:1", 50_000_000)
    measured = meter.finish()
    assert isinstance(measured, EnergyMeasurement)
    assert measured.gross_j == pytest.approx(100.0)


def test_a_missing_zone_makes_the_sum_unavailable(tmp_path: Path) -> None:
    cap = two_sockets(tmp_path / "powercap")
    counter = _counter(cap, Clock())
    (cap.tree / "intel-rapl:1/energy_uj").unlink()
    with pytest.raises(KernelFileError, match="intel-rapl:1"):
        counter.read(0.0)


def test_counts_survive_a_restart_but_not_a_boot(tmp_path: Path) -> None:
    cap = Powercap(tmp_path / "powercap")
    cap.add("intel-rapl:0", "package-0", RANGE_UJ - 1_000_000)
    clock = Clock()
    first = _counter(cap, clock)
    first.sample()
    cap.use("intel-rapl:0", 3_000_000)
    first.sample()
    file = tmp_path / "state.json"
    save_counts(file, first.counts())
    clock.now_s += 20.0
    cap.use("intel-rapl:0", 4_000_000)
    second = _counter(cap, clock, load_counts(file, "boot"))
    assert _joules(second) == {"package-0": pytest.approx(7.0)}
    assert load_counts(file, "another boot") == Counts(boot_id="another boot")
    file.write_text("{", encoding="ascii")
    assert load_counts(file, "boot") == Counts(boot_id="boot")


# --- the process of the reader -------------------------------------------------------------


class Reader:
    """The real energy reader, which reads the imitated powercap files of the test."""

    def __init__(self, folder: Path, tree: Path) -> None:
        self.socket = folder / "energy.sock"
        self._config = folder / "energy-reader.yml"
        settings = {
            "socket": str(self.socket),
            "state_file": str(folder / "energy.json"),
            "powercap": str(tree),
            "interval_s": 0.2,
        }
        self._config.write_text(json.dumps(settings), encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> EnergyReading:
        """Start the reader and return its first reading."""
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen([_READER, "--config", self._config])

        def answer() -> EnergyReading | None:
            reading = request_reading(self.socket)
            return None if "does not answer" in reading.reason else reading

        return wait_until(answer, "the reader answers", interval_s=0.02)

    def fresh_reading(self) -> EnergyReading:
        """Return a reading that was taken after this call, when the next one is allowed."""
        called_s = time.monotonic()

        def answer() -> EnergyReading | None:
            reading = request_reading(self.socket)
            return None if reading.monotonic_s < called_s else reading

        # The reader itself delays answers that follow each other quickly.
        return wait_until(answer, "the reader reads the counters again", interval_s=0)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the reader, wait until it has ended, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(TIMEOUT_S)
        self.process = None
        return code


@pytest.fixture
def cap(tmp_path: Path) -> Powercap:
    return two_sockets(tmp_path / "powercap")


@pytest.fixture
def reader(tmp_path: Path, cap: Powercap) -> Iterator[Reader]:
    made = Reader(tmp_path, cap.tree)
    yield made
    if made.process is not None:
        made.end(signal.SIGKILL)


@pytest.mark.slow
def test_a_restarted_reader_continues_its_counts(reader: Reader, cap: Powercap) -> None:
    assert reader.start().zones["package-0"].joules == 0.0
    cap.use("intel-rapl:0", 6_000_000)
    assert reader.fresh_reading().zones["package-0"].joules == pytest.approx(6.0)
    assert reader.end() == 0
    cap.use("intel-rapl:0", 2_000_000)
    assert reader.start().zones["package-0"].joules == pytest.approx(8.0)
    cap.use("intel-rapl:0", 1_000_000)
    reader.end(signal.SIGKILL)
    assert reader.start().zones["package-0"].joules == pytest.approx(9.0)


@pytest.mark.slow
def test_counters_cannot_be_read_at_a_high_rate(reader: Reader, cap: Powercap) -> None:
    """Check that a client sees a change of the counters only at the reader's own rate."""
    reader.start()
    joules: set[float] = set()
    started_s = time.monotonic()
    answers = 0
    while time.monotonic() - started_s < 0.5:
        cap.use("intel-rapl:0", 1_000_000)
        reading = request_reading(reader.socket)
        joules.add(reading.zones["package-0"].joules)
        answers += 1
    took_s = time.monotonic() - started_s
    assert 2 <= len(joules) <= took_s / READ_INTERVAL_S + 2
    assert answers <= took_s / ANSWER_INTERVAL_S + 2
    # The reader continues to take its own samples.
    assert reader.fresh_reading().zones["package-0"].watts is not None


def test_a_reader_survives_clients_that_do_not_read(reader: Reader) -> None:
    reader.start()
    for _ in range(3):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
            opened.connect(str(reader.socket))
    assert request_reading(reader.socket).zones


def test_unreadable_counters_are_reported(reader: Reader, cap: Powercap) -> None:
    (cap.tree / "intel-rapl:1/energy_uj").unlink()
    reading = reader.start()
    assert reading.zones == {}
    assert "intel-rapl:1/energy_uj" in reading.reason
    assert reader.process is not None
    assert reader.process.poll() is None


def test_a_missing_permission_is_reported() -> None:
    # The folder is not in the tests' own folder, because other users cannot enter that one.
    with tempfile.TemporaryDirectory(prefix="ffrtmp-test-") as name:
        Path(name).chmod(0o755)
        cap = two_sockets(Path(name) / "powercap")
        (cap.tree / "intel-rapl:0/energy_uj").chmod(0o000)
        assert _find_without_rights(cap.tree).endswith("energy_uj may not be read")


def _find_without_rights(tree: Path) -> str:
    """Return the result of `find_zones`, or its error, in a process without privileges."""
    forking = multiprocessing.get_context("fork")
    receiver, sender = forking.Pipe(duplex=False)
    child = forking.Process(target=_send_zones_without_rights, args=(tree, sender))
    child.start()
    child.join(TIMEOUT_S)
    assert receiver.poll()
    message: str = receiver.recv()
    return message


def _send_zones_without_rights(tree: Path, answer: Connection) -> None:
    if os.geteuid() == 0:
        # The user is changed, because root could read every file.
        os.setuid(65534)
    try:
        answer.send(f"found {zones.find_zones(tree, lambda _: None)}")
    except KernelFileError as error:
        answer.send(str(error))


# --- the meter -----------------------------------------------------------------------------


@pytest.mark.slow
def test_gross_idle_and_net_energy_of_an_encode(
    reader: Reader, cap: Powercap, clip: Path, tools: Tools, tmp_path: Path
) -> None:
    reader.start()
    used_uj = {"intel-rapl:0": 0, "intel-rapl:0:2": 0, "intel-rapl:1": 0}
    over = threading.Event()

    reported: list[Progress] = []

    def consume() -> None:
        # The first package uses about 20 W, its memory about 2 W, and the second package 1 W. The
        # other two zones must not be counted.
        while not over.wait(0.02):
            for folder, energy in (
                ("intel-rapl:0", 400_000),
                ("intel-rapl:0:2", 40_000),
                ("intel-rapl:1", 20_000),
            ):
                cap.use(folder, energy)
                used_uj[folder] += energy
            cap.use("intel-rapl:0:0", 300_000)
            cap.use("intel-rapl:2", 900_000)

    thread = threading.Thread(target=consume)
    thread.start()
    try:
        energy_tools = replace(tools, energy_socket=reader.socket, energy_idle_s=1.0)
        spec = msgspec.structs.replace(scenario(clip), warm_up_s=0.2)
        measured = kinds.run_attempt(
            attempt(spec, clip, tmp_path / "attempt", energy_tools, reported=reported)
        )
    finally:
        over.set()
        thread.join()
    assert stages_of(reported) == [
        "fetch", "source_check", "idle_power", "warm_up", "encode", "output_check", "quality"
    ]  # fmt: skip
    energy = measured.energy
    assert isinstance(energy, EnergyMeasurement)
    assert energy.zones_j.keys() == {
        "package-0",
        "package-0-dram",
        "package-1",
        "package-1-dram",
    }
    assert energy.zones_j["package-1-dram"] == 0.0
    assert energy.gross_j == pytest.approx(sum(energy.zones_j.values()))
    assert 0 < energy.gross_j < sum(used_uj.values()) * 1e-6
    # The tolerance is necessary, because a reading may fall between the updates of the counters.
    dram_j = energy.zones_j["package-0-dram"]
    assert energy.zones_j["package-0"] == pytest.approx(10 * dram_j, abs=0.81)
    assert energy.duration_s == pytest.approx(measured.encode.wall_s, abs=0.2)
    assert isinstance(energy.idle_w, float)
    assert energy.idle_w > 0
    assert energy.net_j == pytest.approx(energy.gross_j - energy.idle_w * energy.duration_s)


@pytest.mark.slow
def test_a_density_has_the_energy_of_its_verified_window(
    reader: Reader, cap: Powercap, clip: Path, tools: Tools, tmp_path: Path
) -> None:
    """Check that energy, encode and environment are those of the last window, not of the search."""
    reader.start()
    over = threading.Event()

    def consume() -> None:
        # About 20 W.
        while not over.wait(0.05):
            cap.use("intel-rapl:0", 900_000)
            cap.use("intel-rapl:1", 100_000)

    thread = threading.Thread(target=consume)
    thread.start()
    density = DensitySettings(window_s=6.0, verify_s=8.0, max_streams=1, max_lag_s=5.0)
    spec = msgspec.structs.replace(scenario(clip, threads=1), kind="density", density=density)
    try:
        energy_tools = replace(tools, energy_socket=reader.socket, energy_idle_s=0.5)
        measured = kinds.run_attempt(attempt(spec, clip, tmp_path / "attempt", energy_tools))
    finally:
        over.set()
        thread.join()
    found, energy, slot = measured.density, measured.energy, measured.environment.slot
    assert found is not None
    assert isinstance(energy, EnergyMeasurement)
    assert isinstance(slot, SlotEnvironment)
    searched, verified = found.steps
    assert searched.window_s == pytest.approx(6, abs=0.5)
    assert verified.window_s == measured.encode.wall_s == pytest.approx(8, abs=0.5)
    assert energy.duration_s == pytest.approx(measured.encode.wall_s, abs=0.4)
    assert slot.duration_s == pytest.approx(measured.encode.wall_s, abs=0.4)
    assert verified.power_w == pytest.approx(energy.gross_j / energy.duration_s)
    assert measured.encode.cpu_s <= slot.busy_s + 0.1
    assert measured.verdict is not None


def test_the_meter_is_exact(reader: Reader, cap: Powercap) -> None:
    reader.start()
    meter = EnergyMeter(partial(request_reading, reader.socket))
    cap.use("intel-rapl:0", 1_000_000)
    reader.fresh_reading()
    meter.start()
    cap.use("intel-rapl:0", 4_500_000)
    cap.use("intel-rapl:1", 1_000_000)
    cap.use("intel-rapl:1:2", 250_000)
    time.sleep(0.1)
    energy = meter.finish()
    assert isinstance(energy, EnergyMeasurement)
    assert energy.gross_j == pytest.approx(5.75, abs=1e-9)
    assert isinstance(energy.net_j, Unavailable)


def test_energy_is_unavailable_if_the_reader_ends_meanwhile(reader: Reader) -> None:
    reader.start()
    meter = EnergyMeter(partial(request_reading, reader.socket))
    meter.start()
    reader.end()
    energy = meter.finish()
    assert isinstance(energy, Unavailable)
    assert "does not answer" in energy.reason


def test_energy_is_unavailable_without_a_reader(tmp_path: Path) -> None:
    meter = EnergyMeter(None)
    assert not meter.begin_idle()
    meter.start()
    assert meter.finish() == Unavailable(reason="this node has no energy reader")
    meter = EnergyMeter(partial(request_reading, tmp_path / "nowhere.sock"))
    assert not meter.begin_idle()
    meter.start()
    energy = meter.finish()
    assert isinstance(energy, Unavailable)
    assert "does not answer" in energy.reason


def test_an_answer_without_an_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "energy.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def send_endlessly() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                while True:
                    connection.sendall(b" " * 65536)

        sender = threading.Thread(target=send_endlessly)
        sender.start()
        reading = request_reading(path)
        sender.join()
    assert reading.zones == {}
    assert "the answer exceeds" in reading.reason
