"""docs/api.md: what stands there works, answers as it says, and leaves no endpoint out."""

import pytest

from .comparison import difference
from .conftest import Outcome
from .page import Page

pytestmark = pytest.mark.slow


def test_nothing_is_left_out_of_the_tests(page: Page) -> None:
    fences = list(page.fences())
    assert page.text.count("```") == 2 * len(fences)
    assert {fence.language for fence in fences} == {"bash", "json", "text"}
    run = [fence for step in page.steps() for fence in (step.commands, step.shown) if fence]
    assert run == fences, "what commands print must stand right below them"


def test_every_command_works(page: Page, outcome: Outcome) -> None:
    last = page.steps()[len(outcome.printed) - 1].commands
    assert outcome.exit_code == 0, (
        f"docs/{page.name}, the commands from line {last.line} on ended with "
        f"{outcome.exit_code}: {outcome.errors}{outcome.printed[-1]}"
    )


def test_answers_are_as_they_are_shown(page: Page, outcome: Outcome) -> None:
    shown = [(step.shown, came) for step, came in zip(page.steps(), outcome.printed, strict=False)]
    found = [(fence.line, difference(fence, came)) for fence, came in shown if fence is not None]
    wrong = [f"docs/{page.name}, line {line}: {what}" for line, what in found if what is not None]
    assert found
    assert not wrong, "\n".join(wrong)
