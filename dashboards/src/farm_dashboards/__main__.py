"""The command line: `python -m farm_dashboards build` or `python -m farm_dashboards check`."""

import argparse
import sys
from pathlib import Path

from farm_dashboards import files

_ROOT = Path(__file__).resolve().parents[3]


def main() -> None:
    """Build the files, or check that they are current."""
    parser = argparse.ArgumentParser(prog="farm_dashboards", description=__doc__)
    parser.add_argument("action", choices=("build", "check"))
    if parser.parse_args().action == "build":
        for path in files.write(_ROOT):
            sys.stdout.write(f"{path}\n")
        return
    changed = files.outdated(_ROOT)
    if changed:
        names = ", ".join(str(path) for path in changed)
        sys.exit(f"{names}: not current. Run make dashboards and commit the result.")


if __name__ == "__main__":
    main()
