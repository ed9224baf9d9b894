"""Label values of metrics, which may come from other programs and devices."""

from collections.abc import Iterable, Iterator

from prometheus_client import Metric

from ffrtmp_shared.value_rules import clean_text

MAX_LENGTH = 256
"""The maximum number of characters of a label value."""


def clean_label_values(metrics: Iterable[Metric]) -> Iterator[Metric]:
    """Yield metrics whose label values can be written to the exposition.

    One name with a lone surrogate, for example of a container or a sensor, would otherwise make the
    whole exposition fail.
    """
    for metric in metrics:
        metric.samples = [
            sample
            if all(_is_clean(value) for value in sample.labels.values())
            else sample._replace(
                labels={
                    name: clean_text(str(value), MAX_LENGTH)
                    for name, value in sample.labels.items()
                }
            )
            for sample in metric.samples
        ]
        yield metric


def _is_clean(value: object) -> bool:
    # Almost all values are short names in ASCII.
    return (
        isinstance(value, str)
        and value.isascii()
        and value.isprintable()
        and (len(value) <= MAX_LENGTH)
    )
