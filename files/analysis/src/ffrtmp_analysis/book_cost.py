"""Cost and carbon by a price book: of results, from their measurements, and of nodes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from ffrtmp_shared.models import Result
from ffrtmp_shared.prices import PriceBook

from ffrtmp_analysis import carbon, cost, efficiency
from ffrtmp_analysis.carbon import Carbon
from ffrtmp_analysis.cost import Cost, NodeCost, NodeHour, NodePower
from ffrtmp_analysis.encode_energy import encode_energy
from ffrtmp_analysis.node_use import may_have_shared
from ffrtmp_analysis.price_book import CostGap, rates_at


class EncodeUse(NamedTuple):
    """Resources that an encode used: its duration, and the energy of its node in joules, if known.

    `video_s` is the duration of the video in seconds; streams that ran together are added up.
    `streams` is the number of streams that ran together, or None if the encode was not in real
    time. `is_ladder` is true if it had several renditions. `is_estimate` is true if other jobs
    could run on the node at the same time; see `node_use`.
    """

    wall_s: float
    video_s: float
    energy_j: float | None
    streams: int | None
    is_ladder: bool
    is_estimate: bool


class PricedEncode(NamedTuple):
    """Costs and carbon of an encode, each with the reason if it is unknown.

    `stream_hour` is None if the encode was not in real time, and `ladder_hour` if it had no
    renditions.
    """

    video_minute: Cost | CostGap
    stream_hour: Cost | CostGap | None
    ladder_hour: Cost | CostGap | None
    carbon: Carbon | CostGap


def encode_use(result: Result) -> EncodeUse:
    """Return the resources that the encode of a result used."""
    measured = result.measurement
    if measured.density is not None:
        streams: int | None = measured.density.streams
    else:
        streams = None if measured.live is None else 1
    return EncodeUse(
        wall_s=measured.encode.wall_s,
        video_s=efficiency.video_duration_s(measured.encode.speed, measured.encode.wall_s),
        energy_j=encode_energy(result).total_j,
        streams=streams,
        is_ladder=bool(measured.renditions),
        is_estimate=may_have_shared(result),
    )


def price_encode(use: EncodeUse, book: PriceBook, node: str, at_s: float) -> PricedEncode:
    """Return the costs and the carbon of an encode.

    Args:
        use: The resources that it used.
        book: The price book.
        node: The node on which it ran.
        at_s: The Unix time of its start in seconds.
    """
    rates = rates_at(book, node, datetime.fromtimestamp(at_s, UTC))
    if isinstance(rates, CostGap):
        return _unknown(use, rates, rates)
    emitted = carbon.encode_carbon(use.wall_s, use.energy_j, rates)
    if isinstance(emitted, Carbon):
        emitted = carbon.per_video_minute(emitted, use.video_s)
    spent = cost.encode_cost(use.wall_s, use.energy_j, rates)
    if isinstance(spent, CostGap):
        return _unknown(use, spent, emitted)
    return PricedEncode(
        video_minute=cost.per_video_minute(spent, use.video_s),
        stream_hour=(
            None if use.streams is None else cost.per_stream_hour(spent, use.wall_s, use.streams)
        ),
        ladder_hour=cost.per_video_hour(spent, use.video_s) if use.is_ladder else None,
        carbon=emitted,
    )


def _unknown(use: EncodeUse, gap: CostGap, emitted: Carbon | CostGap) -> PricedEncode:
    return PricedEncode(
        video_minute=gap,
        stream_hour=None if use.streams is None else gap,
        ladder_hour=gap if use.is_ladder else None,
        carbon=emitted,
    )


def price_node(
    node: str, busy_ratios: Mapping[float, float], power: NodePower, book: PriceBook
) -> NodeCost | CostGap:
    """Return the mean cost of a node per hour. Only hours that have prices count.

    Args:
        node: The name of the node.
        busy_ratios: The fractions of hours in which it was busy, by the Unix times in seconds at
            which the hours began, in their order.
        power: The power of the node.
        book: The price book.
    """
    hours = []
    gap: CostGap | None = None
    for begin_s, ratio in busy_ratios.items():
        rates = rates_at(book, node, datetime.fromtimestamp(begin_s, UTC))
        if isinstance(rates, CostGap):
            gap = rates
        else:
            hours.append(NodeHour(busy_ratio=ratio, rates=rates))
    if not hours and gap is not None:
        return gap
    return cost.node_cost(hours, power)
