"""The cost exporter: cost and carbon of the latest results, and the cost of nodes."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from ffrtmp_analysis.book_cost import (
    EncodeUse,
    PricedEncode,
    encode_use,
    price_encode,
    price_node,
)
from ffrtmp_analysis.carbon import Carbon
from ffrtmp_analysis.cost import Cost, NodeCost
from ffrtmp_analysis.price_book import CostGap, entry_at
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_runner import AfterPass
from ffrtmp_shared.models import Result
from ffrtmp_shared.node_models import Node
from ffrtmp_shared.prices import PriceBook, PriceEntry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters import polling
from ffrtmp_master.exporters.node_activity import NodeActivity
from ffrtmp_master.exporters.recent_results import (
    OMITTED_TEXT,
    RecentLimits,
    RecentResults,
    RecentScenario,
)
from ffrtmp_master.exporters.result_history import PageAfter, ResultHistory, pages_of
from ffrtmp_master.exporters.scenario_labels import ScenarioGauge, ScenarioLabels
from ffrtmp_master.exporters.settings import ApiExporterSettings

_S_PER_DAY = 86_400.0
_AVAILABLE = "available"
_COST_GAPS = (
    CostGap.NO_PRICE_BOOK,
    CostGap.NO_ENTRY,
    CostGap.NO_NODE,
    CostGap.NO_HOST_PRICE,
    CostGap.NO_ENERGY_PRICE,
    CostGap.NO_ENERGY,
    CostGap.NO_VIDEO,
)
_CARBON_GAPS = (
    CostGap.NO_PRICE_BOOK,
    CostGap.NO_ENTRY,
    CostGap.NO_NODE,
    CostGap.NO_CARBON_INTENSITY,
    CostGap.NO_EMBODIED_CARBON,
    CostGap.NO_ENERGY,
    CostGap.NO_VIDEO,
)
_COSTS = {
    "video_minute": ScenarioGauge(
        "ffrtmp_cost_per_video_minute",
        "",
        "Cost of a minute of video in the last encode; of several streams, of each, and of a "
        "ladder, of all renditions; add the components up",
    ),
    "stream_hour": ScenarioGauge(
        "ffrtmp_cost_per_stream_hour",
        "",
        "Cost of an hour of each stream that ran in the last measurement of a density or a live "
        "stream; add the components up",
    ),
    "ladder_hour": ScenarioGauge(
        "ffrtmp_cost_per_ladder_hour",
        "",
        "Cost of an hour of video with all renditions of the last ladder; add the components up",
    ),
}
_CARBON = ScenarioGauge(
    "ffrtmp_carbon_grams_per_video_minute",
    "grams_per_video_minute",
    "Carbon dioxide equivalent of a minute of video in the last encode, by the SCI specification "
    "(ISO/IEC 21031); add the components up",
)
_ESTIMATED = ScenarioGauge(
    "ffrtmp_cost_estimated",
    "",
    "1 if other jobs could run on the node during the last encode, so that its costs and its "
    "carbon are estimates: they are those of the whole node, with the energy of these jobs; absent "
    "otherwise",
)


class PriceApi(Protocol):
    """The calls of the master's API that return prices and nodes."""

    def prices(self) -> PriceBook:
        """Return the price book."""

    def nodes(self) -> tuple[Node, ...]:
        """Return all nodes."""


class CostSummary:
    """The latest results of recent runs, and the activity of nodes."""

    def __init__(self, limits: RecentLimits, clock: Callable[[], float]) -> None:
        """Create a summary without results."""
        self.recent = RecentResults(_uses_of, limits)
        self.activity = NodeActivity(limits.keep_days * _S_PER_DAY, clock)

    def add(self, result: Result) -> None:
        """Add a result."""
        self.recent.add(result)
        self.activity.add(result)

    def forget_old(self, now_s: float) -> None:
        """Remove what is too old at the Unix time `now_s`."""
        self.recent.forget_old(now_s)
        self.activity.forget_old(now_s)


class _Priced(NamedTuple):
    """Everything that is exported."""

    encodes: Mapping[ScenarioLabels, PricedEncode]
    estimates: Collection[ScenarioLabels]
    nodes: Mapping[str, NodeCost | CostGap]
    entry: PriceEntry | None
    omitted: int


class FarmCosts(Collector):
    """Exports the cost and carbon of the latest results, and the cost of the farm's nodes."""

    def __init__(
        self, limits: RecentLimits, guard: ItemGuard, clock: Callable[[], float] = time.time
    ) -> None:
        """Create the collector without results.

        Args:
            limits: The limits of the latest results.
            guard: The guard that sets aside results that cannot be read.
            clock: Returns the Unix time in seconds.
        """
        self._clock = clock
        self._history = ResultHistory(
            lambda: CostSummary(limits, clock), guard, limits.recount_s, clock
        )
        self._book: PriceBook | None = None
        self._known: dict[ScenarioLabels, tuple[EncodeUse, PricedEncode]] = {}
        self._priced = _Priced({}, (), {}, None, 0)

    def is_complete(self) -> bool:
        """Return whether all results and the price book have been read once."""
        return self._book is not None and self._history.is_complete()

    def refresh(self, page_after: PageAfter, api: PriceApi) -> AfterPass:
        """Read prices, nodes and new results; return whether there are more to read immediately.

        Until all were read, the metrics do not change. Raises the errors of an unreachable master.

        Args:
            page_after: Returns the page of results after a cursor.
            api: Returns prices and nodes.
        """
        book = api.prices()
        names = [node.name for node in api.nodes()]
        after = self._history.refresh(page_after)
        if after is AfterPass.REPEAT:
            return after
        if book != self._book:
            self._known, self._book = {}, book
        now_s = self._clock()
        with self._history.locked_summary() as summary:
            latest, omitted = summary.recent.latest(), summary.recent.omitted
            activity = summary.activity
            nodes = {
                name: price_node(
                    name, activity.busy_ratios(name, now_s), activity.power(name, now_s), book
                )
                for name in names
            }
        self._known = self._priced_encodes(latest, book)
        self._priced = _Priced(
            encodes={labels: priced for labels, (_, priced) in self._known.items()},
            estimates=[labels for labels, (use, _) in self._known.items() if use.is_estimate],
            nodes=nodes,
            entry=entry_at(book, datetime.fromtimestamp(now_s, UTC)),
            omitted=omitted,
        )
        return after

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        priced = self._priced
        for field, described in _COSTS.items():
            yield _cost_gauge(described, priced.encodes, field)
        yield _carbon_gauge(priced.encodes)
        yield _estimate_gauge(priced.estimates)
        yield from _availability(priced)
        yield from _node_gauges(priced.nodes)
        yield from _entry_metrics(priced.entry)
        yield GaugeMetricFamily(
            "ffrtmp_cost_omitted",
            OMITTED_TEXT,
            priced.omitted,
        )

    def _priced_encodes(
        self, latest: Mapping[ScenarioLabels, RecentScenario[EncodeUse]], book: PriceBook
    ) -> dict[ScenarioLabels, tuple[EncodeUse, PricedEncode]]:
        """Return the costs of the latest results; those that did not change are not computed."""
        priced = {}
        for labels, found in latest.items():
            if found.values is None:
                continue
            known = self._known.get(labels)
            if known is None or known[0] is not found.values:
                costs = price_encode(found.values, book, labels.node, found.measured_at_s)
                known = (found.values, costs)
            priced[labels] = known
        return priced


def _uses_of(result: Result) -> Iterator[tuple[ScenarioLabels, EncodeUse]]:
    yield ScenarioLabels.of_scenario(result), encode_use(result)


def _components(spent: Cost) -> Iterator[tuple[str, float]]:
    yield "host", spent.host
    yield "energy", spent.energy


def _cost_gauge(
    described: ScenarioGauge, encodes: Mapping[ScenarioLabels, PricedEncode], field: str
) -> Metric:
    gauge = described.metric("currency", "component")
    for labels, priced in encodes.items():
        spent = getattr(priced, field)
        if isinstance(spent, Cost):
            for component, amount in _components(spent):
                gauge.add_metric((*labels, spent.currency, component), amount)
    return gauge


def _carbon_gauge(encodes: Mapping[ScenarioLabels, PricedEncode]) -> Metric:
    gauge = _CARBON.metric("component")
    for labels, priced in encodes.items():
        if isinstance(priced.carbon, Carbon):
            gauge.add_metric((*labels, "operational"), priced.carbon.operational_g)
            gauge.add_metric((*labels, "embodied"), priced.carbon.embodied_g)
    return gauge


def _estimate_gauge(estimates: Collection[ScenarioLabels]) -> Metric:
    gauge = _ESTIMATED.metric()
    for labels in estimates:
        gauge.add_metric(labels, 1)
    return gauge


def _availability(priced: _Priced) -> Iterator[Metric]:
    """Yield the numbers of results by node and by the reason why a value is unknown."""
    costs: Counter[tuple[str, str]] = Counter()
    carbon: Counter[tuple[str, str]] = Counter()
    for labels, found in priced.encodes.items():
        costs[labels.node, _reason(found.video_minute)] += 1
        carbon[labels.node, _reason(found.carbon)] += 1
    nodes = sorted({labels.node for labels in priced.encodes} | priced.nodes.keys())
    for name, subject, counts, gaps in (
        ("ffrtmp_cost_available", "cost", costs, _COST_GAPS),
        ("ffrtmp_carbon_available", "carbon", carbon, _CARBON_GAPS),
    ):
        gauge = GaugeMetricFamily(
            name,
            f"Latest results of the node by whether their {subject} is available, or by the "
            "reason why it is not",
            labels=("node", "reason"),
        )
        for node in nodes:
            for reason in (_AVAILABLE, *gaps):
                gauge.add_metric((node, reason), counts[node, reason])
        yield gauge
    gauge = GaugeMetricFamily(
        "ffrtmp_node_cost_available",
        "1 if the cost of the node is available, or for the reason why it is not; 0 for the others",
        labels=("node", "reason"),
    )
    for node, spent in priced.nodes.items():
        for reason in (_AVAILABLE, *_COST_GAPS):
            if reason != CostGap.NO_VIDEO:
                gauge.add_metric((node, reason), float(reason == _reason(spent)))
    yield gauge


def _reason(found: Cost | Carbon | NodeCost | CostGap) -> str:
    return found.value if isinstance(found, CostGap) else _AVAILABLE


def _node_gauges(nodes: Mapping[str, NodeCost | CostGap]) -> Iterator[Metric]:
    gauge = GaugeMetricFamily(
        "ffrtmp_node_cost_per_hour",
        "Mean cost of the node per hour in the last 24 complete hours, for the time in which it "
        "ran measured encodes (busy) and for the other time (idle); add all of them up",
        labels=("node", "currency", "component", "use"),
    )
    for node, spent in nodes.items():
        if isinstance(spent, CostGap):
            continue
        for use, part in (("busy", spent.busy), ("idle", spent.idle)):
            for component, amount in _components(part):
                gauge.add_metric((node, part.currency, component, use), amount)
    yield gauge


def _entry_metrics(entry: PriceEntry | None) -> Iterator[Metric]:
    info = InfoMetricFamily(
        "ffrtmp_price_book",
        "The source and the currency of the prices that are valid now",
        labels=("source", "currency"),
    )
    start = GaugeMetricFamily(
        "ffrtmp_price_book_valid_from_timestamp_seconds",
        "Time from which the present prices are valid; absent if they are undated",
        unit="seconds",
    )
    if entry is not None:
        info.add_metric((entry.source, entry.currency), {})
        if entry.valid_from is not None:
            start.add_metric((), entry.valid_from.timestamp())
    yield info
    yield start


def _build(client: MasterClient, settings: ApiExporterSettings, guard: ItemGuard) -> polling.Polled:
    costs = FarmCosts(RecentLimits.of_settings(settings), guard)
    pages = pages_of(client, guard)
    return polling.Polled(costs, lambda: costs.refresh(pages, client), costs.is_complete)


def main() -> None:
    """Run the command ffrtmp-exporter-cost."""
    polling.serve_polling("cost", _build)
