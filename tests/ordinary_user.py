"""Commands that run as an ordinary user, also if the tests run as root."""

import os
import shutil
import subprocess
from pathlib import Path

_UID = 65534


def as_ordinary_user(folder: Path, needed: Path) -> list[str]:
    """Return the beginning of a command that runs it as an ordinary user.

    If root runs the tests, the user is one without rights, which becomes the owner of the folder.
    If it cannot read the program, as below the home directory of root, the command runs as root.

    Args:
        folder: The folder of the test. Not one of pytest, whose parent only its owner can enter.
        needed: The program.
    """
    setpriv = shutil.which("setpriv")
    if os.getuid() != 0 or setpriv is None:
        return []
    prefix = [setpriv, f"--reuid={_UID}", f"--regid={_UID}", "--clear-groups"]
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _UID, _UID)
    can_run = subprocess.run([*prefix, needed, "--version"], capture_output=True, check=False)
    return prefix if can_run.returncode == 0 else []
