"""The command line of the dashboards: `python -m farm_dashboards build`, `check` or `preview`."""

import argparse
import json
import sys
import time
from pathlib import Path

from farm_dashboards import files
from farm_dashboards.preview.database import Database, https_fetch
from farm_dashboards.preview.drawings import Period
from farm_dashboards.preview.page import preview

_ROOT = Path(__file__).resolve().parents[3]
_PAGE = Path(".state/dashboard-preview.html")


def main() -> None:
    """Build the files, check that they are current, or draw a preview."""
    options = _parser().parse_args()
    if options.action == "build":
        for path in files.write(_ROOT):
            sys.stdout.write(f"{path}\n")
    elif options.action == "check":
        _check()
    else:
        _preview(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="farm_dashboards", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("build", help="write the files of the dashboards")
    actions.add_parser("check", help="check that the files are current")
    draw = actions.add_parser("preview", help="draw the data of all panels on one page")
    draw.add_argument("--url", default="https://127.0.0.1:8428", help="URL of VictoriaMetrics")
    draw.add_argument("--ca", type=Path, help="file with the CA certificates that verify it")
    draw.add_argument("--cert", type=Path, help="file with a client certificate")
    draw.add_argument("--key", type=Path, help="file with the key of the client certificate")
    draw.add_argument("--token-file", type=Path, help="file with a bearer token")
    draw.add_argument("--hours", type=float, default=6.0, help="length of the period")
    draw.add_argument("--page", type=Path, default=_ROOT / _PAGE, help="file of the page")
    return parser


def _check() -> None:
    changed = files.outdated(_ROOT)
    if changed:
        names = ", ".join(str(path) for path in changed)
        sys.exit(f"{names}: not current. Run make dashboards and commit the result.")


def _preview(options: argparse.Namespace) -> None:
    documents = [
        json.loads(file.read_text(encoding="utf-8"))
        for file in sorted((_ROOT / files.FOLDER).glob("*.json"))
    ]
    fetch = https_fetch(
        options.url,
        ca_file=options.ca,
        certificate_file=options.cert,
        key_file=options.key,
        token_file=options.token_file,
    )
    now_s = time.time()
    period = Period(now_s - options.hours * 3600, now_s)
    found = preview(documents, Database(fetch), period, options.url)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(found.html, encoding="utf-8")
    sys.stdout.write(f"{options.page}: {len(found.empty)} queries returned no data\n")
    if found.failed:
        sys.exit(f"{len(found.failed)} queries failed; the first one: {found.failed[0]}")


if __name__ == "__main__":
    main()
