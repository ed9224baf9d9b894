"""Sentences that state the conclusion of a bisection."""

from collections.abc import Iterator

from ffrtmp_analysis.bisection.search import BisectionConclusion, Outcome
from ffrtmp_analysis.comparison.quantities import RULES
from ffrtmp_analysis.comparison.sentences import difference_sentence

from ffrtmp_cli.bisection.bisection_run import FinishedBisection
from ffrtmp_cli.bisection.builds import Build


def conclusion_lines(finished: FinishedBisection, builds: tuple[Build, ...]) -> Iterator[str]:
    """Yield the lines that state a conclusion.

    Args:
        finished: The bisection.
        builds: Its builds.
    """
    found = finished.conclusion
    before, after = builds[found.before], builds[found.after]
    yield _headline(found, before, after)
    if found.target is not None and found.difference is not None:
        scenario = f"{found.target.source}/{found.target.configuration}"
        if found.outcome is not Outcome.UNDECIDED:
            sentence = difference_sentence(found.difference)
            yield f"From build {before.number} to build {after.number}, {scenario}: {sentence}"
    for difference in found.ends:
        scenario = f"{difference.source}/{difference.configuration}"
        sentence = difference_sentence(difference)
        yield f"From build 1 to build {len(builds)}, {scenario}: {sentence}"
    if not found.ends:
        yield "No result has one of the quantities."
    for number, reason in finished.unusable.items():
        yield f"{builds[number].label} was left out: {reason}"
    yield f"{finished.encodes} encodes."


def _headline(found: BisectionConclusion, before: Build, after: Build) -> str:
    if found.target is None:
        if found.outcome is Outcome.NOT_COMPARABLE:
            return "The first and the last build cannot be compared."
        return "The last build is not shown to be slower or worse than the first."
    scenario = f"{found.target.source}/{found.target.configuration}"
    what = f"the {RULES[found.target.quantity].name} of {scenario}"
    if found.outcome is Outcome.FOUND:
        return f"The change of {what} is in {after.label}; {before.label} does not have it."
    if found.outcome is Outcome.UNDECIDED:
        return (
            f"The change of {what} is after {before.label} and not after {after.label}. A build "
            "between them could not be assigned to a side with the permitted repeats."
        )
    return (
        f"The search for the change of {what} ended at {before.label} and {after.label}, but their "
        "direct comparison does not confirm it."
    )
