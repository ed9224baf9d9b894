"""Commands that run as an ordinary user, also if the tests run as root."""

import os
import shutil
import subprocess
from pathlib import Path

_NOBODY = 65534


def as_ordinary_user(folder: Path, needed: Path) -> list[str]:
    """Return the beginning of a command that runs it as an ordinary user.

    If root runs the tests, the command runs as nobody, and the folder is given to that user. If the
    user cannot reach the program, for example in the home directory of root, root runs the command.

    Args:
        folder: The folder of the test. Not one of pytest, whose parent only its owner can enter.
        needed: The program.
    """
    setpriv = shutil.which("setpriv")
    if os.getuid() != 0 or setpriv is None:
        return []
    prefix = [setpriv, f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _NOBODY, _NOBODY)
    can_run = subprocess.run([*prefix, needed, "--version"], capture_output=True, check=False)
    return prefix if can_run.returncode == 0 else []
