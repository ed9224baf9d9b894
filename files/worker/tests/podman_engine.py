"""A container engine for tests: podman's service, which implements the Docker Engine's API."""

import io
import resource
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from polling import wait_until

IMAGE = "ffrtmp-unit-busybox"
_LABEL = "ffrtmp-unit"


class Engine:
    """A podman service that runs containers with busybox."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "engine.sock"
        if None in (shutil.which("podman"), shutil.which("busybox")):
            pytest.fail("podman and busybox are not installed: run make test", pytrace=False)
        self._podman = shutil.which("podman") or ""
        self._log = (folder / "engine.log").open("wb")
        self.clean()
        self._import()
        self._service: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._service = subprocess.Popen(
            [self._podman, "system", "service", "--time", "0", f"unix://{self.socket}"],
            stdout=self._log,
            stderr=self._log,
        )
        wait_until(self.socket.exists, "podman's service listens")

    def stop(self) -> None:
        if self._service is not None:
            self._service.kill()
            self._service.wait()
            self._service = None

    def close(self) -> None:
        """Remove all containers and stop the service."""
        self.clean()
        self.stop()
        self._log.close()

    def run(self, name: str, script: str, *more: str) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.podman(
            *("--runtime", "runc", "run", "--detach", "--name", name, "--label", _LABEL),
            # The limits are given, because podman's defaults may exceed the limits of this process.
            *("--ulimit", f"nofile={hard}:{hard}", "--ulimit", "nproc=4096:4096"),
            *("--network", "none", *more, IMAGE, "/bin/busybox", "sh", "-c", script),
        )

    def podman(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._podman, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def clean(self) -> None:
        """Remove the containers of this engine and of earlier ones."""
        found = self.podman("ps", "--all", "--quiet", "--filter", f"label={_LABEL}").split()
        if found:
            self.podman("rm", "--force", "--time", "0", *found)

    def _import(self) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add("/usr/bin/busybox", "bin/busybox")
        subprocess.run(
            [self._podman, "import", "--quiet", "-", IMAGE],
            input=packed.getvalue(),
            stdout=self._log,
            check=True,
        )
