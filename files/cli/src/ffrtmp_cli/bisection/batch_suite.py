"""Suites with which a bisection measures: parts of the user's suite, with other builds."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffrtmp_analysis.bisection.measured_batches import Measure, Target
from ffrtmp_client import runs
from ffrtmp_client.errors import SettingsError
from ffrtmp_client.suite_files import SuiteText
from ffrtmp_shared.suite import Suite, parse_suite
from ffrtmp_shared.suite_yaml import SuiteError
from ruamel.yaml import YAML

from ffrtmp_cli.bisection.builds import Build
from ffrtmp_cli.errors import CommandError, ExitCode

_KEPT = ("name", "quality", "warm_up_s", "slowest_speed", "deadline_s")


@dataclass(frozen=True)
class BisectedSuite:
    """The suite of a bisection.

    Attributes:
        path: The path of the suite.
        text: Its text.
        suite: The suite.
        scenario: The only scenario to measure, as SOURCE/ENCODE/RATE, or None for all.
    """

    path: Path
    text: str
    suite: Suite
    scenario: str | None

    def batch_text(self, request: Measure, builds: Sequence[Build]) -> str:
        """Return the suite that measures what a request asks for, as YAML.

        Args:
            request: The request.
            builds: The builds to measure.
        """
        document = YAML(typ="safe").load(self.text)
        made: dict[str, Any] = {key: document[key] for key in _KEPT if key in document}
        made["sources"] = [self._located(source) for source in document["sources"]]
        made["encodes"] = [
            self._with_rates(number, encode) for number, encode in enumerate(document["encodes"])
        ]
        wanted = self.scenario if request.target is None else _scenario(request.target)
        if wanted is not None:
            source, encode, rate = wanted.split("/")
            made["sources"] = [entry for entry in made["sources"] if str(entry["name"]) == source]
            made["encodes"] = [
                {**entry, "rate_points": [entry["rate_points"][self._labels(number).index(rate)]]}
                for number, entry in enumerate(made["encodes"])
                if str(entry["name"]) == encode
            ]
        made["ffmpegs"] = [build.suite_entry for build in builds]
        if len(builds) > 1:
            made["compare"] = [{"ffmpegs": [build.name for build in builds]}]
        made["repeats"] = request.repeats
        made["control"] = False
        text = io.StringIO()
        yaml = YAML()
        yaml.default_flow_style = False
        yaml.dump(made, text)
        return text.getvalue()

    def _located(self, source: dict[str, Any]) -> dict[str, Any]:
        if "file" not in source:
            return dict(source)
        return {**source, "file": str((self.path.parent / source["file"]).resolve())}

    def _with_rates(self, number: int, encode: dict[str, Any]) -> dict[str, Any]:
        entry = {key: value for key, value in encode.items() if key != "ffmpegs"}
        if "rate_points" not in entry:
            entry["rate_points"] = YAML(typ="safe").load(self.text)["rate_points"]
        assert len(entry["rate_points"]) == len(self._labels(number))  # noqa: S101
        return entry

    def _labels(self, number: int) -> list[str]:
        return [rate.label for rate in self.suite.rates(self.suite.encodes[number])]


def read_bisected_suite(path: Path, scenario: str | None) -> BisectedSuite:
    """Read the suite of a bisection.

    Args:
        path: The path of the suite.
        scenario: The only scenario to measure, or None for all.

    Raises:
        CommandError: The suite cannot be read, is not valid or cannot be bisected.
    """
    if not path.exists():
        raise CommandError(f"{path} does not exist: check its path", ExitCode.NOT_FOUND)
    try:
        text = runs.read_suite(str(path))
    except SettingsError as error:
        raise CommandError(f"{error}. Name a suite that you can read", ExitCode.USAGE) from error
    try:
        suite = parse_suite(text)
    except SuiteError as error:
        found = SuiteText(path, "\n".join(str(problem) for problem in error.problems))
        raise CommandError(found.located(found.text), ExitCode.USAGE) from error
    others = [encode.name for encode in suite.encodes if encode.kind != "transcode"]
    if others:
        raise CommandError(
            f"{path}: only encodes of the kind transcode can be bisected. Remove "
            f"{', '.join(others)} from a copy of the suite",
            ExitCode.USAGE,
        )
    names = [
        f"{source.name}/{encode.name}/{rate.label}"
        for source in suite.sources
        for encode in suite.encodes
        for rate in suite.rates(encode)
    ]
    if scenario is not None and scenario not in names:
        raise CommandError(
            f"{path} has no scenario {scenario}; it has {', '.join(names)}", ExitCode.USAGE
        )
    return BisectedSuite(path.absolute(), text, suite, scenario)


def _scenario(target: Target) -> str:
    return f"{target.source}/{target.configuration}"
