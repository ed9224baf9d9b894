"""The price book of the farm."""

import asyncio
from typing import Any

from ffrtmp_shared.prices import PriceBook
from litestar import get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from ffrtmp_master.api import problems
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.services import Services


@get(
    "/v1/prices",
    guards=[require_role(*permissions.GET_PRICES)],
    responses=problems.document_problems(),
)
async def get_prices(services: NamedDependency[SkipValidation[Services]]) -> PriceBook:
    """Get the price book: dated prices and carbon intensities. It is empty if none is deployed."""
    # Reading a file that has changed may take a while.
    return await asyncio.to_thread(services.prices.book)


ROUTES: tuple[Any, ...] = (get_prices,)
