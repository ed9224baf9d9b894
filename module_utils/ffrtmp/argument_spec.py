"""Arguments that the modules have in common, and the handling of their errors."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ffrtmp.api import Master
from ansible.module_utils.ffrtmp.errors import ApiError, SettingsError
from ansible.module_utils.ffrtmp.options import problems, split_master_url

CONNECTION: dict[str, dict[str, Any]] = {
    "master_url": {"type": "str", "required": True},
    "token": {"type": "str", "required": True, "no_log": True},
    "ca_file": {"type": "path", "required": True},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
    "timeout_s": {"type": "float", "default": 30.0},
}
"""Arguments for the connection to the master."""


def module_arguments(
    options: Mapping[str, Any],
    own: Collection[str],
    shown: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the arguments with which an action calls a module. Unset options are left out.

    As in `create_module`, white space around the token is removed.

    Args:
        options: Options of the action, with those of CONNECTION.
        own: Names of the options that the module does not have.
        shown: Names in the messages, for options that the operator sets by another name.

    Raises:
        SettingsError: Options have values that are not accepted. The message names all of them.
    """
    values = {**options, "token": options["token"].strip()}
    found = list(problems(values, shown))
    if found:
        raise SettingsError(". ".join(found))
    return {name: value for name, value in values.items() if name not in own and value is not None}


def create_module(argument_spec: dict[str, dict[str, Any]], **rules: Any) -> AnsibleModule:
    """Return a module whose options have been checked.

    White space around the token is removed, because files with tokens end with a line feed. If an
    option has a value that is not accepted, the module fails and names all such options.

    Args:
        argument_spec: Options of the module.
        rules: Relations between options, as keyword arguments of AnsibleModule.
    """
    # AnsibleModule adds defaults to the specification.
    specification = copy.deepcopy(argument_spec)
    module = AnsibleModule(argument_spec=specification, supports_check_mode=True, **rules)
    if "token" in module.params:
        module.params["token"] = module.params["token"].strip()
        _conceal(module, module.params["token"])
    url = module.params.get("master_url") or ""
    if split_master_url(url) is None:
        # It may contain a password, and Ansible returns the arguments of a module.
        _conceal(module, url)
    found = list(problems(module.params))
    if found:
        module.fail_json(msg=". ".join(found), temporary=False)
    return module


def _conceal(module: AnsibleModule, secret: str) -> None:
    """Let Ansible replace the secret in everything that the module returns."""
    if secret:
        module.no_log_values.add(secret)


@contextlib.contextmanager
def connected(module: AnsibleModule) -> Iterator[Master]:
    """Yield a client for the master that the module's arguments specify.

    If the body fails because of the master, the network, the operator or a file, the module fails
    with a message. It then returns `temporary`, which indicates whether a retry may succeed.
    """
    params = module.params
    failure: ApiError | None = None
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
        failure = error
    except OSError as error:
        failure = ApiError(f"{error.filename or 'a file'} cannot be used: {error.strerror}")
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        # The functions that interpret responses expect the forms that the API specifies.
        failure = ApiError(
            f"a response of {params['master_url']} does not have the expected form "
            f"({_kind(error)}): check that master_url is the farm's master and that it has the "
            "release of these modules"
        )
    # Outside the handlers, because Ansible would otherwise add the messages of all causes.
    if failure is not None:
        module.fail_json(msg=str(failure), temporary=failure.is_temporary, **failure.returned)


def _kind(error: Exception) -> str:
    """Return the type of an error, and for a missing field its name."""
    is_field = isinstance(error, KeyError) and isinstance(error.args[0], str)
    return f"no field {error.args[0][:64]}" if is_field else type(error).__name__
