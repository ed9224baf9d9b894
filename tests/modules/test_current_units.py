"""Tests of the module current_units without systemd: digests, times, records and readiness.

The scenario molecule/interrupted tests the module with systemd.
"""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

# conftest.py makes module_utils importable.
import current_units
import pytest
import trustme
from ansible.module_utils.ffrtmp import unit_inputs
from ansible.module_utils.ffrtmp.readiness import reason_not_ready
from ansible.module_utils.ffrtmp.unit_health import wait_until_up
from ansible.module_utils.ffrtmp.units import (
    Digests,
    Record,
    Records,
    UnitState,
    action_for,
    digests_of,
    read_states,
    reads_below,
)

INVOCATION = "0123456789abcdef"


def state(age_s: float = 60.0, **properties: str) -> UnitState:
    """Return the state of a unit that was started `age_s` seconds ago."""
    stamp = str(int((time.monotonic() - age_s) * 1e6))
    return UnitState(
        {
            "ActiveState": "active",
            "SubState": "running",
            "LoadState": "loaded",
            "NRestarts": "0",
            "InvocationID": INVOCATION,
            "InactiveExitTimestampMonotonic": stamp,
            "ActiveEnterTimestampMonotonic": stamp,
        }
        | properties
    )


class Service:
    """A unit with a settings file that needs a restart, and rules that need a reload."""

    def __init__(self, folder: Path) -> None:
        self.settings = folder / "settings.yml"
        self.rules = folder / "rules.yml"
        for file in (self.settings, self.rules):
            file.write_text("old\n")
        self.declaration = {"inputs": [str(self.settings)], "reload_inputs": [str(self.rules)]}

    def digests(self) -> Digests:
        return digests_of(self.declaration, state())

    def action(self, record: Record | None, **properties: Any) -> str:
        return action_for(self.declaration, state(**properties), record, self.digests())


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


@pytest.fixture
def record(service: Service) -> Record:
    """A record of the present files."""
    return Record(INVOCATION, service.digests(), service.declaration)


def test_a_unit_with_recorded_files_is_left_alone(service: Service, record: Record) -> None:
    assert service.action(record) == ""
    # The time and the permissions changed, but the content did not.
    service.settings.write_text("old\n")
    service.settings.chmod(0o600)
    assert service.action(record) == ""


def test_changed_files_restart_or_reload(service: Service, record: Record) -> None:
    service.rules.write_text("new\n")
    assert service.action(record) == "reload"
    service.settings.write_text("new\n")
    assert service.action(record) == "restart"
    assert service.action(record, ActiveState="failed") == "start"
    assert service.action(record, ActiveState="activating", SubState="auto-restart") == "start"


@pytest.mark.parametrize("change", ["remove", "create"])
def test_removed_and_created_files_are_changes(
    service: Service, tmp_path: Path, change: str
) -> None:
    other = tmp_path / "other"
    service.declaration["inputs"].append(str(other))
    if change == "remove":
        other.write_text("")
    record = Record(INVOCATION, service.digests(), service.declaration)
    assert service.action(record) == ""
    if change == "remove":
        other.unlink()
    else:
        other.write_text("")
    assert service.action(record) == "restart"


def test_after_another_start_the_times_decide(service: Service, record: Record) -> None:
    """A record of an earlier start is not used, for example after a crash or a reboot."""
    time.sleep(0.1)
    assert service.action(record, InvocationID="other", age_s=0.0) == ""
    assert service.action(None, age_s=0.0) == ""
    assert service.action(record, InvocationID="other", age_s=60.0) == "restart"
    old = state(age_s=60.0)
    rules_only = {"inputs": [], "reload_inputs": [str(service.rules)]}
    assert action_for(rules_only, old, None, service.digests()) == "reload"


def test_a_link_to_another_directory_is_a_change(tmp_path: Path) -> None:
    """The programs of two releases may be equal, but the release is not."""
    for name in ("1", "2"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin/program").write_text("same\n")
    current = tmp_path / "current"
    current.symlink_to("1")
    path = str(current / "bin/program")
    before = unit_inputs.digest_of([path], {})
    time.sleep(0.02)
    began_s = time.time() - 0.01
    assert unit_inputs.changed_at_s([path]) < began_s
    current.unlink()
    current.symlink_to(tmp_path / "2")
    assert unit_inputs.digest_of([path], {}) != before
    assert unit_inputs.changed_at_s([path]) >= began_s
    # Another name of the same release does not change the digest.
    (tmp_path / "alias").symlink_to("2")
    after = unit_inputs.digest_of([path], {})
    current.unlink()
    current.symlink_to(tmp_path / "alias")
    assert unit_inputs.digest_of([path], {}) == after


def test_links_are_followed_like_the_kernel_does(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/up").symlink_to("../../file")
    (tmp_path / "file").write_text("")
    links, target = unit_inputs.follow(str(tmp_path / "a/b/up"))
    assert (links, target) == ([tmp_path / "a/b/up"], tmp_path / "file")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels"):
        unit_inputs.follow(str(tmp_path / "loop"))


def test_large_files_are_not_read(tmp_path: Path) -> None:
    program = tmp_path / "program"
    with program.open("wb") as file:
        file.truncate(1 << 40)
    before = unit_inputs.digest_of([str(program)], {})
    os.utime(program, ns=(1, 1))
    assert unit_inputs.digest_of([str(program)], {}) != before


def test_values_are_part_of_the_digest() -> None:
    assert unit_inputs.digest_of([], {"group": "a"}) != unit_inputs.digest_of([], {"group": "b"})


def test_records_are_private_and_damaged_ones_are_ignored(tmp_path: Path, record: Record) -> None:
    records = Records(tmp_path / "units")
    assert records.names() == []
    records.write("ffrtmp-agent@1.service", record)
    assert records.read("ffrtmp-agent@1.service") == record
    assert records.names() == ["ffrtmp-agent@1.service"]
    (file,) = (tmp_path / "units").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    for damaged in ("", "{}", "[]", '{"digests": {"a": 1}}'):
        file.write_text(damaged)
        assert records.read("ffrtmp-agent@1.service") is None


@pytest.mark.parametrize("key", ["inputs", "reload_inputs"])
def test_the_units_that_read_a_file_in_a_directory_are_recognized(tmp_path: Path, key: str) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "alias").symlink_to("pki")
    (tmp_path / "host.pem").symlink_to("pki/host.pem")
    for name in ("pki/host.pem", "alias/host.pem", "host.pem"):
        assert reads_below({key: ["/etc/x.yml", str(tmp_path / name)]}, str(tmp_path / "pki"))
    for name in ("pki-other/host.pem", "x.yml"):
        assert not reads_below({key: [str(tmp_path / name)]}, str(tmp_path / "pki"))
    assert not reads_below({}, str(tmp_path / "pki"))


_SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> {log}
[ "$1" = show ] || exit 0
shift 2
for unit do
    printf 'LoadState=loaded\\nActiveState=active\\nInvocationID={invocation}\\n\\n'
done
"""


def test_only_units_that_use_the_changed_directory_are_restarted(
    run_module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renewed certificates must not restart agents whose settings have changed."""
    log = tmp_path / "log"
    systemctl = tmp_path / "bin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(_SYSTEMCTL.format(log=log, invocation=INVOCATION))
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")
    files = {name: tmp_path / name for name in ("pki/host.pem", "agent.yml", "nginx.conf")}
    (tmp_path / "pki").mkdir()
    for file in files.values():
        file.write_text("old")
    records = Records(tmp_path / "units")
    agent = {"inputs": [str(files["agent.yml"])]}
    nginx = {
        "inputs": [str(files["nginx.conf"])],
        "reload_inputs": [str(files["pki/host.pem"])],
    }
    for name, declaration in (("agent.service", agent), ("nginx.service", nginx)):
        digests = digests_of(declaration, UnitState({}))
        records.write(name, Record(INVOCATION, digests, declaration))
    for file in files.values():
        if file.name != "nginx.conf":
            file.write_text("new")
    options = {"recorded": True, "record_dir": str(tmp_path / "units")}
    done = run_module(current_units, **options, below=str(tmp_path / "pki"))
    assert done["actions"] == {"nginx.service": "reload"}
    assert "restart" not in log.read_text()
    done = run_module(current_units, **options)
    assert done["actions"] == {"agent.service": "restart"}


def test_a_process_of_another_release_is_recognized(tmp_path: Path) -> None:
    """The unit's program is a script in a virtual environment, reached by the link `current`."""
    for release in ("1", "2"):
        (tmp_path / release / "bin").mkdir(parents=True)
        (tmp_path / release / "bin/python").symlink_to(Path(sys.executable).resolve())
        (tmp_path / release / "bin/ffrtmp-x").write_text("")
    (tmp_path / "current").symlink_to("1")
    program = tmp_path / "current/bin/ffrtmp-x"
    command = [str(tmp_path / "1/bin/python"), "-c", "print(flush=True); input()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()
        running = state(MainPID=str(process.pid), ExecStart=f"{{ path={program} ; argv[]=x ; }}")
        assert running.runs_in_its_environment
        (tmp_path / "current").unlink()
        (tmp_path / "current").symlink_to(tmp_path / "2")
        assert not running.runs_in_its_environment
        record = Record(INVOCATION, digests_of({}, running), {})
        assert action_for({}, running, record, record.digests) == ""
        is_script = {"virtual_environment": True}
        assert action_for(is_script, running, record, record.digests) == "restart"
        process.communicate(b"\n")
    assert not running.runs_in_its_environment


def test_the_output_of_systemctl_is_read() -> None:
    out = (
        "ActiveState=active\nExecStart={ path=/opt/bin/x ; argv[]=/opt/bin/x --a=b ; }\n"
        "FragmentPath=/etc/x.service\nDropInPaths=/etc/x.d/a.conf /etc/x.d/b.conf\n\n"
        "ActiveState=inactive\n"
    )
    states = read_states(lambda _: (0, out, ""), ["x.service", "y.timer"])
    files = ["/etc/x.service", "/etc/x.d/a.conf", "/etc/x.d/b.conf", "/opt/bin/x"]
    assert states["x.service"].own_files == files
    assert states["y.timer"].own_files == []
    with pytest.raises(OSError, match="no bus"):
        read_states(lambda _: (1, "", "no bus"), ["x.service"])


# --- readiness ------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 503)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The URL of a TLS server that is ready at /readyz."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_is_requested_without_a_proxy(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    ready = {"url": f"{url}/readyz", "ca_file": str(tmp_path / "ca.pem")}
    assert reason_not_ready(ready, "") == ""
    assert "503" in reason_not_ready(ready | {"url": f"{url}/other"}, "")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    assert "CERTIFICATE_VERIFY_FAILED" in reason_not_ready(
        ready | {"ca_file": str(tmp_path / "other.pem")}, ""
    )


def test_ports_sockets_and_status_texts_are_checked(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert reason_not_ready({"host": "127.0.0.1", "ports": [port]}, "") == ""
    assert str(port) in reason_not_ready({"host": "127.0.0.1", "ports": [port]}, "")
    path = str(tmp_path / "socket")
    assert path in reason_not_ready({"socket": path}, "")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert reason_not_ready({"socket": path}, "") == ""
    wanted = {"status_text": "^registered with "}
    assert reason_not_ready(wanted, "registered with https://m:8080 as w1") == ""
    assert "'none'" in reason_not_ready(wanted, "")


class Shown:
    """Successive outputs of `systemctl show`; the last one is repeated."""

    def __init__(self, *states: UnitState) -> None:
        self.states = list(states)

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        assert command[:2] == ["systemctl", "show"]
        shown = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return 0, "".join(f"{name}={value}\n" for name, value in shown.properties.items()), ""


@pytest.mark.parametrize(
    ("age_s", "properties", "reason"),
    [
        (60.0, {}, ""),
        (60.0, {"ActiveState": "failed", "Result": "start-limit-hit"}, "start-limit"),
        (60.0, {"ActiveState": "activating", "SubState": "auto-restart"}, "auto-restart"),
        (40.0, {"NRestarts": "1"}, ""),
    ],
)
def test_a_unit_is_up_when_it_keeps_running(
    age_s: float, properties: dict[str, str], reason: str
) -> None:
    declarations = {"x.service": {"ready": {"timeout_s": 0}}}
    shown = Shown(state(age_s=age_s, **properties))
    failed = wait_until_up(shown, declarations, 5.0, check_ready=True)
    assert reason in failed.get("x.service", "")
    assert bool(failed) == bool(reason)


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        (state(age_s=40.0, NRestarts="1"), ""),
        (state(ActiveState="activating", SubState="auto-restart", NRestarts="2"), "auto-restart"),
    ],
    ids=["steady", "crashed"],
)
def test_a_unit_that_runs_is_waited_for_beyond_its_timeout(later: UnitState, reason: str) -> None:
    """It crashed 20 s ago, so whether it keeps running is not known before 30 s."""
    declarations = {"x.service": {"ready": {"timeout_s": 0}}}
    shown = Shown(state(age_s=20.0, NRestarts="1"), later)
    failed = wait_until_up(shown, declarations, 5.0, check_ready=True)
    assert reason in failed.get("x.service", "")
    assert bool(failed) == bool(reason)


@pytest.mark.parametrize(
    "crashing",
    [
        {"ActiveState": "failed", "NRestarts": "5"},
        {"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "1"},
        {"NRestarts": "1"},
    ],
    ids=["failed", "waiting", "running"],
)
def test_the_restarts_of_former_files_do_not_count(
    crashing: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart by a command leaves the number of automatic restarts of a crashing unit."""
    units = current_units.Units.__new__(current_units.Units)
    commands: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(units, "_systemctl", lambda verb, names: commands.append((verb, names)))
    units._execute({"x.service": "restart"}, [], {"x.service": state(**crashing)})
    assert ("reset-failed", ["x.service"]) in commands
    assert commands[-1] == ("restart", ["x.service"])


def test_restarts_before_the_wait_do_not_end_it() -> None:
    """A unit that crashed seven times last week may need a moment until it responds."""
    declarations = {"x.service": {"ready": {"timeout_s": 60, "status_text": "^ready"}}}
    count = {"NRestarts": "7"}
    shown = Shown(state(**count), state(**count, StatusText="ready"))
    assert wait_until_up(shown, declarations, 1.0, check_ready=True) == {}
    crashed = [state(NRestarts=str(number)) for number in (7, 8, 12)]
    failed = wait_until_up(Shown(*crashed), declarations, 1.0, check_ready=True)
    assert "after 12 automatic restarts" in failed["x.service"]


def test_restarts_are_counted_from_zero_after_a_start() -> None:
    declarations = {"x.service": {"ready": {"timeout_s": 60, "status_text": "^ready"}}}
    crashed = [state(NRestarts=str(number)) for number in (7, 0, 5)]
    failed = wait_until_up(Shown(*crashed), declarations, 1.0, check_ready=True)
    assert "after 5 automatic restarts" in failed["x.service"]


def test_a_unit_that_becomes_steady_is_waited_for() -> None:
    declarations = {"x.service": {"ready": {"timeout_s": 60}}}
    shown = Shown(state(age_s=0.0), state(ActiveState="activating"), state(age_s=1.0))
    assert wait_until_up(shown, declarations, 1.0, check_ready=True) == {}
    assert len(shown.states) == 1
