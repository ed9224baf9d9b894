"""The files that are built from the dashboards."""

import json
import re
from pathlib import Path

from farm_dashboards.catalog import alert_panels, all_dashboards, document

FOLDER = Path("roles/grafana/files/dashboards")
"""The directory of the dashboards, in the repository."""

ALERT_PANELS = Path("roles/vmalert/vars/main.yml")
"""The file that contains the panel of each alert, in the repository."""

_PANELS = re.compile(r"^(__vmalert_panels:\n)(?:  .*\n)*", re.MULTILINE)


def contents(root: Path) -> dict[Path, str]:
    """Return the content of each file, by its path in the repository.

    Args:
        root: The root of the repository.
    """
    dashboards = all_dashboards()
    found = {}
    for dashboard in dashboards:
        built = json.dumps(document(dashboard), indent=2, sort_keys=True, ensure_ascii=False)
        found[FOLDER / f"{dashboard.uid}.json"] = f"{built}\n"
    variables = (root / ALERT_PANELS).read_text(encoding="utf-8")
    found[ALERT_PANELS] = with_panels(variables, alert_panels(dashboards))
    return found


def with_panels(text: str, panels: dict[str, tuple[str, int]]) -> str:
    """Return the variables of the role vmalert with the panel of each alert.

    Args:
        text: The file of the variables.
        panels: The uid of the dashboard and the id of the panel of each alert.

    Raises:
        ValueError: The file has no variable __vmalert_panels.
    """
    lines = "".join(
        f"  {alert}: {{uid: {uid}, panel: {number}}}\n"
        for alert, (uid, number) in sorted(panels.items())
    )
    changed, count = _PANELS.subn(lambda match: match[1] + lines, text)
    if count != 1:
        raise ValueError(f"{ALERT_PANELS} must contain __vmalert_panels once")
    return changed


def write(root: Path) -> list[Path]:
    """Write the files that have changed, and remove those of former dashboards.

    Args:
        root: The root of the repository.

    Returns:
        The paths of the changed files in the repository.
    """
    built = contents(root)
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
    built = contents(root)
    present = {file.relative_to(root) for file in (root / FOLDER).glob("*.json")}
    changed = {
        path
        for path, text in built.items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    }
    return sorted(changed | (present - built.keys()))
