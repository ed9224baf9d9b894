"""Commands that run as an ordinary user, also if the tests run as root."""

import os
import shutil
import subprocess
from pathlib import Path

_USER_ID = 65534


def as_ordinary_user(folder: Path, needed: Path) -> list[str]:
    """Return the beginning of a command that runs it as an ordinary user.

    If root runs the tests, another user runs the command, to whom the folder is given. If that
    user cannot reach the program, for example in the home directory of root, root runs it.

    Args:
        folder: The folder of the test. Not one of pytest, whose parent only its owner can enter.
        needed: The program.
    """
    setpriv = shutil.which("setpriv")
    if os.getuid() != 0 or setpriv is None:
        return []
    prefix = [setpriv, f"--reuid={_USER_ID}", f"--regid={_USER_ID}", "--clear-groups"]
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _USER_ID, _USER_ID)
    can_run = subprocess.run([*prefix, needed, "--version"], capture_output=True, check=False)
    return prefix if can_run.returncode == 0 else []
