"""A result with what an export adds to it: properties of its run, and its cost."""

from datetime import datetime
from typing import NamedTuple

from ffrtmp_analysis.book_cost import PricedEncode, encode_use, price_encode
from ffrtmp_analysis.carbon import Carbon
from ffrtmp_analysis.cost import Cost
from ffrtmp_analysis.measurement_time import measurement_time_s
from ffrtmp_analysis.price_book import CostGap
from ffrtmp_shared.models import Result
from ffrtmp_shared.prices import PriceBook
from ffrtmp_shared.requirements import Priority


class RunOutline(NamedTuple):
    """The properties of a run that do not depend on its jobs."""

    suite_name: str
    key: str | None
    seed: int
    priority: Priority
    created_at: datetime
    created_by: str
    finished_at: datetime | None


class ResultCost(NamedTuple):
    """Cost and carbon of a result by the price book, or the reason why it is unknown.

    Costs are in `currency`. A cost that the kind of the job does not have is None.
    """

    currency: str | None = None
    per_video_minute: float | None = None
    per_stream_hour: float | None = None
    per_ladder_hour: float | None = None
    unavailable: str | None = None
    carbon_g_per_video_minute: float | None = None
    carbon_unavailable: str | None = None


class ExportedResult(NamedTuple):
    """A result, its run if it has one, and its cost.

    For a format without context, the run and the cost keep their defaults.
    """

    result: Result
    run: RunOutline | None = None
    cost: ResultCost = ResultCost()


def cost_of_result(result: Result, book: PriceBook) -> ResultCost:
    """Return the cost and the carbon of a result.

    Args:
        result: The result.
        book: The price book.
    """
    priced = price_encode(encode_use(result), book, result.node, measurement_time_s(result))
    per_minute = priced.video_minute
    return ResultCost(
        currency=_currency(priced),
        per_video_minute=_total(per_minute),
        per_stream_hour=_total(priced.stream_hour),
        per_ladder_hour=_total(priced.ladder_hour),
        unavailable=per_minute.value if isinstance(per_minute, CostGap) else None,
        carbon_g_per_video_minute=(
            priced.carbon.total_g if isinstance(priced.carbon, Carbon) else None
        ),
        carbon_unavailable=priced.carbon.value if isinstance(priced.carbon, CostGap) else None,
    )


def _total(spent: Cost | CostGap | None) -> float | None:
    return spent.total if isinstance(spent, Cost) else None


def _currency(priced: PricedEncode) -> str | None:
    for spent in (priced.video_minute, priced.stream_hour):
        if isinstance(spent, Cost):
            return spent.currency
    return None
