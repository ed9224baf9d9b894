"""Results of the two sides of a comparison."""

from enum import StrEnum

import msgspec
from ffrtmp_shared.verdict import VerdictState

from ffrtmp_analysis.comparison.quantities import Quantity
from ffrtmp_analysis.comparison.recorded_factors import Factor


class Condition(StrEnum):
    """A condition of the results of a scenario. The values are the names in sentences."""

    SOURCE = "source"
    RATE_SCALE = "scale of the rate control"
    FFMPEG = "FFmpeg build"
    QUALITY_MODEL = "quality model"
    CPU_MODEL = "CPU model"
    CURRENCY = "currency"


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """One result.

    Attributes:
        round: The round in which it was measured: results of both sides with the same round were
            measured close to each other on the same node, so that they share its state.
        values: The values that were measured.
        state: The verdict on its validity. Invalid results are counted, but not compared.
        reasons: The codes of the reasons for the verdict.
        digest: The digest of the output; None if it is unknown.
        factors: The recorded factors that change speed and energy.
    """

    round: str
    values: dict[Quantity, float]
    state: VerdictState = VerdictState.VALID
    reasons: tuple[str, ...] = ()
    digest: str | None = None
    factors: dict[Factor, float] = {}


class ScenarioResults(msgspec.Struct, frozen=True, kw_only=True):
    """All results of a scenario on a node.

    Attributes:
        node: The node.
        source: The name of the clip.
        configuration: The rest of the scenario: encode and rate point.
        repeats: The results.
        conditions: The different values of each condition among the results. A condition without a
            value does not matter to the comparison.
        unavailable: Why a quantity is unavailable.
    """

    node: str
    source: str
    configuration: str
    repeats: tuple[Repeat, ...]
    conditions: dict[Condition, tuple[str, ...]] = {}
    unavailable: dict[Quantity, str] = {}

    @property
    def key(self) -> tuple[str, str, str]:
        """The node, the clip and the configuration, which identify the results of a side."""
        return self.node, self.source, self.configuration


class ControlEncodes(msgspec.Struct, frozen=True, kw_only=True):
    """The control encodes of a side on a node.

    Attributes:
        node: The node.
        speeds: Their speeds, in multiples of real time.
        is_unusual: Whether the master found that the node drifted during the run.
        usual_low: The lower limit of the usual speeds of the node; None if it is unknown.
        usual_high: The upper limit.
    """

    node: str
    speeds: tuple[float, ...]
    is_unusual: bool = False
    usual_low: float | None = None
    usual_high: float | None = None


class ComparedSide(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a comparison.

    Attributes:
        name: Its name.
        scenarios: Its results. Each node, clip and configuration occurs once.
        controls: The control encodes of each node. They are left out if both sides share them.
    """

    name: str
    scenarios: tuple[ScenarioResults, ...]
    controls: tuple[ControlEncodes, ...] = ()
