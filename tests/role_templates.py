"""Templates of the roles, rendered with Ansible's own templating and the project's filters."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import filter_loader, init_plugin_loader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[1]


@functools.cache
def loader() -> DataLoader:
    """Return Ansible's loader, after its plugins were set up for this process."""
    init_plugin_loader()
    filter_loader.add_directory(str(ROOT / "plugins/filter"))
    return DataLoader()


def load_yaml(path: Path) -> Any:
    """Return the content of a YAML file whose templates may be rendered, or {} without one."""
    if not path.exists():
        return {}
    return loader().load_from_file(str(path), trusted_as_template=True)


def render(text: str, variables: Mapping[str, Any], *, is_file: bool = False) -> Any:
    """Return the value of an expression or of the text of a template file.

    Args:
        text: The expression, or the content of the file.
        variables: The variables, which may contain templates.
        is_file: Whether the text is that of a template file.
    """
    templar = Templar(loader=loader(), variables=dict(variables))
    options = {"trim_blocks": True} if is_file else None
    return templar.template(trust_as_template(text), overrides=options)
