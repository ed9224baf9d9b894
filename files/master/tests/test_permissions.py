"""Test that the API uses each permission exactly once."""

import re
from collections import Counter
from pathlib import Path

from ffrtmp_master.auth import permissions
from ffrtmp_master.server import app


def test_each_permission_belongs_to_one_endpoint() -> None:
    api = Path(app.__file__).parents[1] / "api"
    used = Counter(
        name
        for file in api.glob("*.py")
        for name in re.findall(r"permissions\.([A-Z_]+)", file.read_text())
    )
    listed = {name for name in vars(permissions) if name.isupper() and not name.startswith("_")}
    assert used == Counter(listed)
