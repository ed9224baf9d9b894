"""Scrapes of a master in this process."""

from typing import Any

from prometheus_client import parser


class Scrape:
    """The samples of one scrape of a master."""

    def __init__(self, harness: Any) -> None:
        answer = harness.call("viewer", "GET", "/metrics")
        assert answer.status_code == 200, answer.text
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parser.text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((f"ffrtmp_master_{name}", frozenset(labels.items())))

    def queued(self) -> dict[tuple[str, str], float]:
        return {
            (dict(labels)["priority"], dict(labels)["reason"]): value
            for (name, labels), value in self.samples.items()
            if name == "ffrtmp_master_jobs_queued" and value
        }


def portal_call(harness: Any, do: Any, *arguments: Any) -> Any:
    with harness.client.portal() as portal:
        return portal.call(do, harness.services, *arguments)
