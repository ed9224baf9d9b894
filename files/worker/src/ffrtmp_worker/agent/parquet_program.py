"""Programs that write Parquet files.

The agent never loads the Parquet library, which needs more memory than the agent itself. Modules
that use the library are run as programs in processes of their own.
"""

import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_log = logging.getLogger(__name__)

_TIMEOUT_S = 300


def run_parquet_program(
    module: str, target: Path, arguments: Sequence[str] = (), content: bytes = b""
) -> bool:
    """Run a module that writes a Parquet file. If it fails, log the reason and leave no file.

    Args:
        module: The name of the module.
        target: The file to write. It is the first argument of the program.
        arguments: The further arguments.
        content: The standard input of the program.

    Returns:
        Whether the file was written.
    """
    try:
        subprocess.run(
            [sys.executable, "-m", module, str(target), *arguments],
            input=content,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or b""
        tail = output.decode(errors="replace")[-500:]
        _log.warning("%s was not written: %s %s", target.name, error, tail)
        target.unlink(missing_ok=True)
        return False
    return True
