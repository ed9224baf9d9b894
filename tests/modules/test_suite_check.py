"""Tests of the check of a suite and its files on the control node."""

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.module_utils.ffrtmp.suite_files import SuiteText, file_problems

from .farm import CLIP, SUITE

sys.path.append(str(Path(__file__).resolve().parents[2] / "plugins" / "action"))
import ffrtmp_suite_check

_DIGEST = hashlib.sha256(CLIP).hexdigest()


@pytest.fixture
def suite(tmp_path: Path) -> SuiteText:
    (tmp_path / "clip.mp4").write_bytes(CLIP)
    return SuiteText(tmp_path / "suite.yml", SUITE.format(sha256=_DIGEST))


def listed(path: str = "clip.mp4", sha256: str = _DIGEST) -> dict[str, Any]:
    """Return a file as a plan lists it."""
    return {"name": "source clip", "path": path, "sha256": sha256, "is_stored": False}


def test_a_file_with_its_digest_has_no_problem(suite: SuiteText) -> None:
    assert file_problems(suite, [listed()]) == []
    absolute = str(suite.path.parent / "clip.mp4")
    assert file_problems(suite, [listed(absolute)]) == []


def test_a_wrong_digest_has_the_position_the_path_and_both_digests(suite: SuiteText) -> None:
    (suite.path.parent / "clip.mp4").write_bytes(b"another clip")
    found = hashlib.sha256(b"another clip").hexdigest()
    assert file_problems(suite, [listed()]) == [
        f"{suite.path}:6:13: source clip: clip.mp4 has the SHA-256 {found}, but the suite states "
        f"{_DIGEST}. Use the file for which the suite was written, or replace this sha256"
    ]


def test_all_files_that_cannot_be_used_are_listed(suite: SuiteText) -> None:
    text = suite.text.replace("file: clip.mp4", "file: none.mp4")
    changed = SuiteText(suite.path, text)
    (suite.path.parent / "folder").mkdir()
    missing, folder = file_problems(changed, [listed("none.mp4"), listed("folder")])
    where = suite.path.parent
    assert missing == (
        f"{suite.path}:5:11: source clip: none.mp4 does not exist ({where / 'none.mp4'}). Correct "
        "the path, or put the file there"
    )
    assert folder.startswith(f"{suite.path}:6:13: source clip: folder is not a regular file")


def test_a_file_whose_digest_the_suite_does_not_contain_is_refused(suite: SuiteText) -> None:
    """A master must not be able to obtain other files of the control node."""
    secret = suite.path.parent / "secret"
    secret.write_text("secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    (problem,) = file_problems(suite, [listed("secret", digest)])
    assert "source clip: secret has the SHA-256" in problem


def test_positions_in_a_message_of_the_master_name_the_suite(suite: SuiteText) -> None:
    message = "the suite is not valid\nline 14, column 5: encodes.1: x\nline 3, column 1: y"
    assert suite.located(message) == (
        f"the suite is not valid\n{suite.path}:14:5: encodes.1: x\n{suite.path}:3:1: y"
    )
    assert suite.located("no node can run line 4") == "no node can run line 4"


def test_a_directory_that_cannot_have_results_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = ffrtmp_suite_check.directory_problem
    assert check(tmp_path / "a/b") is None
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert check(tmp_path / "file/b") == (
        f"farm_results_dir is {tmp_path}/file/b, but {tmp_path}/file is not a directory"
    )
    # The access of root is never denied, so the system's answer is replaced.
    monkeypatch.setattr("os.access", lambda *_: False)
    problem = check(tmp_path / "a")
    assert f"this user cannot write to {tmp_path}" in problem
    assert "Set farm_results_dir" in problem


@pytest.mark.parametrize(
    ("option", "shown"), [("key", "benchmark_key"), ("client_key", "client_key")]
)
def test_an_invalid_option_is_named_as_the_operator_sets_it(option: str, shown: str) -> None:
    arguments = {
        "master_url": "https://x",
        "token": "t\n",
        "ca_file": "/ca.pem",
        "suite": "/nonexistent/suite.yml",
        option: "a\nb",
    }
    action = ffrtmp_suite_check.ActionModule(
        task=SimpleNamespace(args=arguments, async_val=0, check_mode=False),
        connection=SimpleNamespace(_shell=SimpleNamespace(tmpdir="/nowhere")),
        play_context=None,
        loader=None,
        templar=None,
        shared_loader_obj=None,
    )
    with pytest.raises(AnsibleActionFail, match=f"^{shown} must be ") as raised:
        action.run(task_vars={})
    assert str(raised.value).count(" must ") == 1
