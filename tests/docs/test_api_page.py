"""Tests that all commands of docs/api.md succeed and have the output that the page shows."""

import pytest

from .comparison import difference
from .conftest import Outcome
from .page import Page

pytestmark = pytest.mark.slow


def test_every_fence_is_tested(page: Page) -> None:
    fences = list(page.fences())
    assert page.text.count("```") == 2 * len(fences)
    assert {fence.language for fence in fences} == {"bash", "json", "text"}
    run = [fence for step in page.steps() for fence in (step.commands, step.shown) if fence]
    assert run == fences, "the output of commands must be directly below them"


def test_every_command_works(page: Page, outcome: Outcome) -> None:
    last = page.steps()[len(outcome.printed) - 1].commands
    assert outcome.exit_code == 0, (
        f"docs/{page.name}, the commands from line {last.line} on ended with "
        f"{outcome.exit_code}: {outcome.errors}{outcome.printed[-1]}"
    )


def test_outputs_are_as_shown(page: Page, outcome: Outcome) -> None:
    shown = [
        (step.shown, actual) for step, actual in zip(page.steps(), outcome.printed, strict=False)
    ]
    found = [
        (fence.line, difference(fence, actual)) for fence, actual in shown if fence is not None
    ]
    wrong = [f"docs/{page.name}, line {line}: {problem}" for line, problem in found if problem]
    assert found
    assert not wrong, "\n".join(wrong)
