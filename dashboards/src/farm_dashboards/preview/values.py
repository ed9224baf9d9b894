"""Values with their units, as texts."""

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))
_SYMBOLS = {
    "bps": "bit/s",
    "Bps": "B/s",
    "bytes": "B",
    "celsius": "°C",
    "cpm": "/min",
    "cps": "/s",
    "dB": "dB",
    "hertz": "Hz",
    "joule": "J",
    "kwatth": "kWh",
    "massg": "g",
    "reqps": "req/s",
    "watt": "W",
}
_WITHOUT_PREFIX = {"celsius", "cpm", "dB", "kwatth"}
_DURATIONS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"))
_YES_NO = {"bool_yes_no": ("No", "Yes"), "bool_on_off": ("Off", "On")}


def formatted(value: float, unit: str) -> str:
    """Return a value with its unit.

    Args:
        value: The value.
        unit: The unit, as Grafana names it.
    """
    if unit in _YES_NO:
        return _YES_NO[unit][value != 0]
    if unit == "percentunit":
        return f"{100 * value:.4g} %"
    if unit == "s":
        return _duration(value)
    if unit.startswith("suffix:"):
        return f"{value:.4g} {unit.removeprefix('suffix:')}"
    symbol = _SYMBOLS.get(unit, "")
    if unit in _WITHOUT_PREFIX or not symbol:
        return f"{value:.4g} {symbol}".rstrip()
    size = abs(value)
    scale, prefix = next((item for item in _PREFIXES if size >= item[0]), (1.0, ""))
    return f"{value / scale:.4g} {prefix}{symbol}"


def _duration(value_s: float) -> str:
    scale, symbol = next((item for item in _DURATIONS if abs(value_s) >= item[0]), (1.0, "s"))
    if scale == 1.0 and 0 < abs(value_s) < 1:
        return f"{1000 * value_s:.4g} ms"
    return f"{value_s / scale:.4g} {symbol}"
