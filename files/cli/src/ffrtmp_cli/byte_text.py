"""Sizes as text for people."""

_UNITS = ("bytes", "KB", "MB", "GB", "TB")
_STEP = 1000


def byte_text(size_bytes: int) -> str:
    """Return a size in bytes as text with a decimal unit, such as `1.1 MB`."""
    size, unit = float(size_bytes), 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size /= _STEP
        unit += 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size_bytes} bytes"
