"""The exporter of the quality of experience: quality, quality per resource, and live streams."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from ffrtmp_analysis import efficiency, session_score
from ffrtmp_analysis.bit_rate import output_bits_per_s, video_bits_per_s
from ffrtmp_analysis.book_cost import EncodeUse, encode_use, price_encode
from ffrtmp_analysis.encode_energy import encode_energy
from ffrtmp_analysis.price_book import CostGap
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_runner import AfterPass
from ffrtmp_shared.models import Result
from ffrtmp_shared.prices import PriceBook
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters import polling
from ffrtmp_master.exporters.live_experience import (
    END_TO_END,
    LAG,
    LIVE_GAUGES,
    SCORE,
    ByQuantile,
    LiveExperience,
    live_experience,
)
from ffrtmp_master.exporters.picture_quality import (
    MODEL,
    QUALITY_GAUGES,
    PictureQuality,
    picture_quality,
)
from ffrtmp_master.exporters.recent_results import (
    OMITTED_TEXT,
    RecentLimits,
    RecentResults,
    RecentScenario,
)
from ffrtmp_master.exporters.result_history import PageAfter, ResultHistory, pages_of
from ffrtmp_master.exporters.scenario_labels import (
    LabeledScenarios,
    ScenarioGauge,
    ScenarioLabels,
)
from ffrtmp_master.exporters.settings import ApiExporterSettings

_TIME = ScenarioGauge(
    "ffrtmp_qoe_measured_timestamp_seconds",
    "seconds",
    "Time at which the quality or the live stream was measured, by the worker's clock; the time at "
    "which it was stored if its agent did not report the former",
)
# The quality of the received stream is measured, and not assumed to be that of another encode.
_SCORE_LABELS = {"method": session_score.METHOD, "q_source": "measured"}


_PER_COST = ScenarioGauge(
    "ffrtmp_qoe_vmaf_per_cost",
    "",
    "Mean VMAF divided by the cost of a minute of video, host and energy, in the currency of the "
    "price book, if the cost is known; compare only encodes of similar quality",
)


class Experience(NamedTuple):
    """The quality of a scenario or a rendition, and the experience of a live stream.

    `use` is what the encode of this output alone used, or None if it is not known.
    """

    quality: PictureQuality | None
    live: LiveExperience | None
    use: EncodeUse | None


class PerCost(NamedTuple):
    """The quality per cost in a currency."""

    currency: str
    vmaf: float


Found = RecentScenario[Experience]


class _Shown(NamedTuple):
    """Everything that is exported. A scenario without a known cost has no entry in `per_cost`."""

    latest: Mapping[ScenarioLabels, Found]
    per_cost: Mapping[ScenarioLabels, tuple[Found, PerCost | None]]
    omitted: int


class QualityOfExperience(Collector):
    """Exports the quality of experience of the latest result of each scenario on each node."""

    def __init__(
        self, limits: RecentLimits, guard: ItemGuard, clock: Callable[[], float] = time.time
    ) -> None:
        """Create the collector without results.

        Args:
            limits: The limits of the latest results.
            guard: The guard that sets aside results that cannot be read.
            clock: Returns the Unix time in seconds.
        """
        self._history = ResultHistory(
            lambda: RecentResults(experiences_of, limits), guard, limits.recount_s, clock
        )
        self._book: PriceBook | None = None
        self._shown = _Shown({}, {}, 0)

    def is_complete(self) -> bool:
        """Return whether all results and the price book have been read once."""
        return self._book is not None and self._history.is_complete()

    def refresh(self, page_after: PageAfter, read_prices: Callable[[], PriceBook]) -> AfterPass:
        """Read prices and new results, and return whether there are more to read immediately.

        Until all were read, the metrics do not change. Raises the errors of an unreachable master.

        Args:
            page_after: Returns the page of results after a cursor.
            read_prices: Returns the price book.
        """
        book = read_prices()
        after = self._history.refresh(page_after)
        if after is AfterPass.REPEAT:
            return after
        known = self._shown.per_cost if book == self._book else {}
        with self._history.locked_summary() as recent:
            latest, omitted = recent.latest(), recent.omitted
        per_cost = {}
        for labels, found in latest.items():
            before = known.get(labels)
            # The quality per cost of a result is calculated once.
            if before is None or before[0] is not found:
                before = (found, _per_cost(labels, found, book))
            per_cost[labels] = before
        self._book, self._shown = book, _Shown(latest, per_cost, omitted)
        return after

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        shown = self._shown
        found = LabeledScenarios(shown.latest)
        yield found.info(MODEL, "model", _model)
        for field, described in QUALITY_GAUGES.items():
            yield found.gauge(described, partial(_quality_value, field))
        yield found.gauge_by(_PER_COST, "currency", partial(_amounts, shown.per_cost))
        yield found.quantiles(LAG, partial(_quantiles, "lag_s"))
        yield found.quantiles(END_TO_END, partial(_quantiles, "end_to_end_s"))
        for field, described in LIVE_GAUGES.items():
            yield found.gauge(described, partial(_live_value, field))
        yield found.gauge(SCORE, partial(_live_value, "score"), _SCORE_LABELS)
        yield found.gauge(_TIME, _time)
        yield GaugeMetricFamily(
            "ffrtmp_qoe_omitted",
            OMITTED_TEXT,
            shown.omitted,
        )


def experiences_of(result: Result) -> Iterator[tuple[ScenarioLabels, Experience]]:
    """Yield the quality of experience of a result and of its renditions.

    If nothing was measured, this replaces earlier values as well.
    """
    measured = result.measurement
    power_w = encode_energy(result).power_w
    quality = picture_quality(
        measured.quality, bits_per_s=video_bits_per_s(measured), power_w=power_w
    )
    yield (
        ScenarioLabels.of_scenario(result),
        Experience(quality, live_experience(measured), encode_use(result)),
    )
    for rendition in measured.renditions:
        # Power and cost are those of all renditions of the ladder.
        bits_per_s = output_bits_per_s(rendition.output)
        quality = picture_quality(rendition.quality, bits_per_s=bits_per_s, power_w=None)
        yield ScenarioLabels.of_rendition(result, rendition.name), Experience(quality, None, None)


def _per_cost(labels: ScenarioLabels, found: Found, book: PriceBook) -> PerCost | None:
    values = found.values
    if values is None or values.quality is None or values.use is None:
        return None
    spent = price_encode(values.use, book, labels.node, found.measured_at_s).video_minute
    if isinstance(spent, CostGap):
        return None
    vmaf = efficiency.quality_per_cost(values.quality.vmaf_mean, spent.total)
    return None if vmaf is None else PerCost(spent.currency, vmaf)


def _amounts(
    per_cost: Mapping[ScenarioLabels, tuple[Found, PerCost | None]],
    labels: ScenarioLabels,
    _: Found,
) -> Iterator[PerCost]:
    _, amount = per_cost[labels]
    if amount is not None:
        yield amount


def _model(found: Found) -> str | None:
    quality = None if found.values is None else found.values.quality
    return None if quality is None else quality.vmaf_model


def _quality_value(field: str, _: ScenarioLabels, found: Found) -> float | None:
    value: float | None = getattr(found.values and found.values.quality, field, None)
    return value


def _live_value(field: str, _: ScenarioLabels, found: Found) -> float | None:
    value: float | None = getattr(found.values and found.values.live, field, None)
    return value


def _quantiles(field: str, _: ScenarioLabels, found: Found) -> ByQuantile:
    values: ByQuantile = getattr(found.values and found.values.live, field, ())
    return values


def _time(_: ScenarioLabels, found: Found) -> float | None:
    values = found.values
    is_known = values is not None and (values.quality is not None or values.live is not None)
    return found.measured_at_s if is_known else None


def _build(client: MasterClient, settings: ApiExporterSettings, guard: ItemGuard) -> polling.Polled:
    experience = QualityOfExperience(RecentLimits.of_settings(settings), guard)
    pages = pages_of(client, guard)
    return polling.Polled(
        experience, lambda: experience.refresh(pages, client.prices), experience.is_complete
    )


def main() -> None:
    """Run the command ffrtmp-exporter-qoe."""
    polling.serve_polling("qoe", _build)
