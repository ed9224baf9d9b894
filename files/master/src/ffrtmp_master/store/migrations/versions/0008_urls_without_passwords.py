"""URLs of sources and FFmpeg builds without user and password, which are no longer valid.

Earlier releases accepted them in jobs that were submitted without a suite.
"""

import re
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_USER_INFO = re.compile(r"(?<=://)[^/?#]*@")
_ROWS_AT_ONCE = 500


def upgrade() -> None:
    """Remove user and password from the URLs of all jobs and results."""
    for table in ("jobs", "results"):
        _clean(sa.table(table, sa.column("id", sa.Uuid), sa.column("scenario", sa.JSON)))


def _clean(table: sa.TableClause) -> None:
    connection = op.get_bind()
    # Only a URL can contain both parts in this order.
    suspicious = sa.cast(table.c.scenario, sa.Text).like("%://%@%")
    ids = connection.execute(sa.select(table.c.id).where(suspicious)).scalars().all()
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        batch = ids[start : start + _ROWS_AT_ONCE]
        query = sa.select(table.c.id, sa.cast(table.c.scenario, sa.Text).label("scenario"))
        for row in connection.execute(query.where(table.c.id.in_(batch))).all():
            scenario = msgspec.json.decode(row.scenario)
            if _clean_urls(scenario):
                connection.execute(
                    sa.update(table).where(table.c.id == row.id).values(scenario=scenario)
                )


def _clean_urls(scenario: dict[str, Any]) -> bool:
    """Remove user and password from the URLs of a scenario; return whether there were any."""
    is_changed = False
    for part in ("source", "ffmpeg"):
        found = scenario.get(part) or {}
        url = found.get("url")
        if url is not None and _USER_INFO.search(url):
            found["url"] = _USER_INFO.sub("", url)
            is_changed = True
    return is_changed
