"""The files that are built from the dashboards."""

import json
from pathlib import Path

from farm_dashboards.catalog import alert_panels, all_dashboards, document

FOLDER = Path("roles/grafana/files/dashboards")
"""The directory of the dashboards, in the repository."""

ALERT_PANELS = Path("roles/vmalert/files/panels.yml")
"""The file with the panel of each alert, in the repository."""

_ALERT_PANELS_HEAD = """\
---
# Built by `make dashboards`: the dashboard and the panel that show the values of each alert.
"""


def contents() -> dict[Path, str]:
    """Return the content of each file, by its path in the repository."""
    dashboards = all_dashboards()
    found = {
        FOLDER / f"{dashboard.uid}.json": json.dumps(
            document(dashboard), indent=2, sort_keys=True, ensure_ascii=False
        )
        + "\n"
        for dashboard in dashboards
    }
    lines = (
        f"{alert}: {{uid: {uid}, panel: {number}}}\n"
        for alert, (uid, number) in sorted(alert_panels(dashboards).items())
    )
    found[ALERT_PANELS] = _ALERT_PANELS_HEAD + "".join(lines)
    return found


def write(root: Path) -> list[Path]:
    """Write the files that have changed, and remove those of former dashboards.

    Args:
        root: The root of the repository.

    Returns:
        The paths of the changed files in the repository.
    """
    built = contents()
    changed = outdated(root)
    for path in changed:
        file = root / path
        if path in built:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(built[path], encoding="utf-8")
        else:
            file.unlink()
    return changed


def outdated(root: Path) -> list[Path]:
    """Return the paths of the files that differ from their content, or have none.

    Args:
        root: The root of the repository.
    """
    built = contents()
    present = {file.relative_to(root) for file in (root / FOLDER).glob("*.json")}
    changed = {
        path
        for path, text in built.items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    }
    return sorted(changed | (present - built.keys()))
