"""Arguments that the modules have in common, and the handling of API errors."""

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
"""Arguments for the connection to the master."""


@contextlib.contextmanager
def connected(module: AnsibleModule) -> Iterator[Master]:
    """Yield a client for the master that the module's arguments specify.

    If the body raises an ApiError, the module fails. It then returns `temporary`, which indicates
    whether a retry may succeed.
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
