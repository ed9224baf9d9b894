"""Tests of the escalation of signals to a process that does not end."""

import signal
import subprocess
import sys

import pytest
from ffrtmp_worker.ffmpeg import signal_escalation
from ffrtmp_worker.ffmpeg.signal_escalation import SignalEscalation, signal_group


def test_signals_are_sent_once_per_step_and_sigkill_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 100.0
    monkeypatch.setattr(signal_escalation.time, "monotonic", lambda: now_s)
    sent: list[signal.Signals] = []
    escalation = SignalEscalation(sent.append)
    results = []
    for _ in range(5):
        results += [escalation.proceed(), escalation.proceed()]
        now_s += signal_escalation.STEP_S
    assert sent == [signal.SIGINT, signal.SIGTERM, *[signal.SIGKILL] * 3]
    assert results == [True] * 6 + [False] * 4


def test_a_group_that_has_ended_is_not_an_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    process.wait()
    signal_group(process.pid, signal.SIGTERM)
