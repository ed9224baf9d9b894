"""Arguments that all of the modules take, and how a module fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ffrtmp.api import ApiError, Master

CONNECTION: dict[str, dict[str, Any]] = {
    "master_url": {"type": "str", "required": True},
    "token": {"type": "str", "required": True, "no_log": True},
    "ca_file": {"type": "path", "required": True},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
    "timeout_s": {"type": "float", "default": 30.0},
}
"""How the master is reached."""


@contextlib.contextmanager
def connected(module: AnsibleModule) -> Iterator[Master]:
    """Give the master that the module's arguments name; an ApiError fails the module.

    The failed module returns `temporary`: whether trying again may help.
    """
    params = module.params
    try:
        master = Master(
            params["master_url"],
            params["token"],
            params["ca_file"],
            params["timeout_s"],
            client_cert=params["client_cert"],
            client_key=params["client_key"],
        )
        with contextlib.closing(master):
            yield master
    except ApiError as error:
        module.fail_json(msg=str(error), temporary=error.is_temporary, **error.returned)
