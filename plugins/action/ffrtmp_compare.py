"""Action plugin of the module ffrtmp_compare, which compares results on the control node."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_ROOT = Path(__file__).resolve().parents[2]

# Ansible's setting module_utils applies only to modules, but this plugin runs on the control node.
_MODULE_UTILS = str(_ROOT / "module_utils")
if _MODULE_UTILS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_MODULE_UTILS)

from ansible.module_utils.ffrtmp.comparison_options import (  # noqa: E402
    COMPARISON_SPEC,
    WITHIN_A_RUN,
)

Json = dict[str, Any]

_SOURCES = tuple(str(_ROOT / "files" / part / "src") for part in ("shared", "analysis", "cli"))
"""The packages that compare results. `make setup` does not install them on a control node."""

_PAIR = 2


class ActionModule(ActionBase):  # type: ignore[misc]
    """An action that reads two directories of results and states how they differ."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        """Return the comparison. With fail_on_regression, fail unless there is no regression."""
        result: Json = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(
            argument_spec=COMPARISON_SPEC,
            mutually_exclusive=[("b", *WITHIN_A_RUN)],
            required_one_of=[("b", *WITHIN_A_RUN)],
        )
        # Ansible's texts carry their origin, and msgspec encodes only those of Python.
        options = json.loads(json.dumps(options))
        _check(options)
        # Ansible forks a process for each task, so that other tasks do not see these paths.
        sys.path += [path for path in _SOURCES if path not in sys.path]
        outcome = _compare(options, is_check=self._task.check_mode)
        if options["fail_on_regression"] and outcome["conclusion"] != "no_regression":
            outcome |= {"failed": True, "msg": "\n".join(outcome["comparison"]["summary"])}
        return {**result, **outcome}


def _check(options: Json) -> None:
    """Raise AnsibleActionFail if the value of an option is not accepted."""
    for name in WITHIN_A_RUN:
        if options[name] is not None and len(options[name]) != _PAIR:
            raise AnsibleActionFail(f"{name} must be two names")
    for name in ("margin_percent", "vmaf_margin_points"):
        if not 0 < options[name] <= 100:  # noqa: PLR2004
            raise AnsibleActionFail(f"{name} must be above 0 and at most 100")


def _compare(options: Json, *, is_check: bool) -> Json:
    """Return the result of the action, and write its files unless it runs in check mode."""
    # Imported here, because the paths of these packages have to be added first.
    import msgspec  # noqa: PLC0415
    from ffrtmp_analysis.comparison.quantities import Quantity  # noqa: PLC0415
    from ffrtmp_analysis.comparison.side_comparison import Margins  # noqa: PLC0415
    from ffrtmp_cli.comparison.document import ComparisonSettings  # noqa: PLC0415
    from ffrtmp_cli.comparison.junit import junit_xml  # noqa: PLC0415
    from ffrtmp_cli.comparison.run_comparison import (  # noqa: PLC0415
        compare_runs,
        compare_within_run,
    )
    from ffrtmp_cli.comparison.sides import Criterion  # noqa: PLC0415
    from ffrtmp_cli.comparison.texts import markdown_text, terminal_text  # noqa: PLC0415
    from ffrtmp_cli.errors import CommandError  # noqa: PLC0415
    from ffrtmp_client.errors import SettingsError  # noqa: PLC0415
    from ffrtmp_client.saved_results import read_saved_results  # noqa: PLC0415

    settings = ComparisonSettings(
        quantities=tuple(Quantity(name) for name in options["quantities"]),
        margins=Margins(options["margin_percent"] / 100, options["vmaf_margin_points"]),
    )
    criteria = dict(zip(WITHIN_A_RUN, Criterion, strict=True))
    try:
        read = read_saved_results(Path(options["a"]))
        if options["b"] is None:
            (name,) = (name for name in WITHIN_A_RUN if options[name] is not None)
            document = compare_within_run(read, criteria[name], tuple(options[name]), settings)
        else:
            reads = read, read_saved_results(Path(options["b"]))
            document = compare_runs(reads, (options["a"], options["b"]), settings)
        written = []
        for name, content in (
            ("markdown", markdown_text(document).encode()),
            ("junit", junit_xml(document)),
        ):
            if options[name] is not None:
                written += _put(Path(options[name]), content, is_check=is_check)
    except (CommandError, SettingsError) as error:
        raise AnsibleActionFail(str(error)) from error
    return {
        "changed": bool(written),
        "diff": {"before": "", "after": "".join(f"{path}\n" for path in written)},
        "conclusion": document.conclusion.value,
        "text": terminal_text(document),
        "comparison": msgspec.to_builtins(document),
        "files": written,
    }


def _put(path: Path, content: bytes, *, is_check: bool) -> list[str]:
    """Write a file if its content differs. Return its path if it does."""
    from ffrtmp_client.folder import Folder  # noqa: PLC0415

    folder = Folder(path.absolute().parent, is_dry=is_check)
    folder.put(path.name, content)
    return [str(path) for _ in folder.changes]
