"""Filters that convert the text of a list or a dictionary, such as one of --extra-vars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.validation import check_type_dict


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, and the list that a text describes.

    A text is YAML or JSON that begins with a bracket, or the elements separated by commas, as for
    the options of modules. An empty text is an empty list.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text.startswith("["):
            return [element.strip() for element in text.split(",")] if text else []
        value = _parse(text)
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise AnsibleFilterError(f"{value!r} is not a list, such as [a, b]")
    return list(value)


def as_dict(value: Any) -> dict[Any, Any]:
    """Return a dictionary as it is, and the dictionary that a text describes.

    A text is YAML or JSON that begins with a brace, or a list of KEY=VALUE. An empty text is an
    empty dictionary.
    """
    if isinstance(value, str):
        text = value.strip()
        try:
            value = _parse(text) if text.startswith("{") else check_type_dict(text) if text else {}
        except TypeError as error:
            raise AnsibleFilterError(f"{value!r} is not a dictionary: {error}") from error
    if not isinstance(value, Mapping):
        raise AnsibleFilterError(f"{value!r} is not a dictionary, such as {{name: value}}")
    return dict(value)


def _parse(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise AnsibleFilterError(f"{text!r} is not YAML: {error}") from error


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[[Any], Any]]:
        """Return the filters by name."""
        return {"as_list": as_list, "as_dict": as_dict}
