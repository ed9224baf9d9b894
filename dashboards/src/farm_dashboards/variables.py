"""Variables of the dashboards."""

from grafana_foundation_sdk.builders.dashboard import (
    ConstantVariable,
    DatasourceVariable,
    QueryVariable,
)
from grafana_foundation_sdk.models.dashboard import (
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from farm_dashboards.queries import SOURCE

RUNBOOKS = "https://runbooks.invalid"
"""The address of the runbook in the committed files, which the role grafana replaces."""

_ALL = VariableOption(selected=True, text="All", value="$__all")

SERIES = {
    "node": 'ffrtmp_node_last_seen_timestamp_seconds{job="health"}',
    "encoder": 'ffrtmp_result_timestamp_seconds{job="results"}',
    "scenario": 'ffrtmp_result_timestamp_seconds{job="results"}',
}
"""The series from which the values of each variable are read.

Each node has the first one, and each latest result has the second one, whatever was measured.
"""


def datasource() -> DatasourceVariable:
    """Return the variable of the data source."""
    return (
        DatasourceVariable("datasource")
        .label("Data source")
        .description("The database with the metrics of the farm")
        .type("prometheus")
        .current(VariableOption(selected=True, text="farm", value="ffrtmp-farm"))
        .include_all(False)
        .multi(False)
    )


def runbooks() -> ConstantVariable:
    """Return the variable of the address of the runbook."""
    return (
        ConstantVariable("runbooks")
        .label("Runbooks")
        .description("Address of the directory docs/runbooks; set by grafana_runbook_base_url")
        .value(RUNBOOKS)
    )


def label_values(label: str, description: str) -> QueryVariable:
    """Return a variable whose values are those of a label.

    Args:
        label: The label, which is also the name of the variable.
        description: The description.
    """
    query = f"label_values({SERIES[label]}, {label})"
    return (
        QueryVariable(label)
        .label(label.capitalize())
        .description(description)
        .datasource(SOURCE)
        .query({"query": query, "refId": label})
        .definition(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .hide(VariableHide.DONT_HIDE)
        .current(_ALL)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def node() -> QueryVariable:
    """Return the variable of the nodes."""
    return label_values("node", "The nodes whose values are shown")


def encoder() -> QueryVariable:
    """Return the variable of the encoders."""
    return label_values("encoder", "The encoders whose results are shown")


def scenario() -> QueryVariable:
    """Return the variable of the scenarios."""
    return label_values("scenario", "The scenarios whose results are shown")
