"""Tables, and charts of one column against another."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, table, xychart
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor
from grafana_foundation_sdk.models.common import (
    SortOrder,
    TableAutoCellOptions,
    TableCellBackgroundDisplayMode,
    TableCellDisplayMode,
    TableCellHeight,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
)
from grafana_foundation_sdk.models.xychart import SeriesMapping, XYShowMode

from farm_dashboards import thresholds
from farm_dashboards.panels import Description, FarmPanel, describe, legend
from farm_dashboards.queries import Query, ref_id, table_target


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: The title.
        expr: The query of the values, whose labels are the keys of the table.
        unit: The unit, as Grafana names it.
        steps: The thresholds, which color the cells; None for cells without colors.
    """

    title: str
    expr: str
    unit: str
    steps: thresholds.Steps | None = None


def grid(
    described: Description,
    keys: Sequence[str],
    columns: Sequence[Column],
    data_links: Sequence[DashboardLink] = (),
) -> FarmPanel:
    """Return a table with a row for each combination of labels.

    Args:
        described: The description.
        keys: The labels that identify a row, which become its first columns.
        columns: The other columns.
        data_links: The links of each cell.
    """
    panel = (
        table.Panel()
        .targets([table_target(Query(c.expr, c.title), at) for at, c in enumerate(columns)])
        .transformations(_transformations(keys, columns))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .show_header(True)
        .cell_height(TableCellHeight.SM)
        .filterable(True)
        .cell_options(TableAutoCellOptions())
    )
    for column in columns:
        panel = panel.override_by_name(column.title, _properties(column))
    return describe(panel, described, data_links)


def scatter(described: Description, keys: Sequence[str], x: Column, y: Column) -> FarmPanel:
    """Return a chart of two values of the same things, which are connected by lines.

    Args:
        described: The description; its unit is that of `y`.
        keys: The labels that identify a point. Points that differ only in the last one are
            connected.
        x: The values of the horizontal axis.
        y: The values of the vertical axis.
    """
    by = [title_of(key) for key in keys[:-1]]
    panel = (
        xychart.Panel()
        .targets([table_target(Query(c.expr, c.title), at) for at, c in enumerate((x, y))])
        .transformations(
            [
                *_transformations(keys, (x, y)),
                DataTransformerConfig(
                    id_val="sortBy", options={"sort": [{"field": x.title, "desc": False}]}
                ),
                DataTransformerConfig(
                    id_val="partitionByValues",
                    options={"fields": by, "keepFields": False, "naming": {"asLabels": True}},
                ),
            ]
        )
        .color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .show(XYShowMode.POINTS_AND_LINES)
        .mapping(SeriesMapping.AUTO)
        .series(
            [
                xychart.XYSeriesConfig()
                .x(xychart.XychartXYSeriesConfigX().matcher(_named(x.title)))
                .y(xychart.XychartXYSeriesConfigY().matcher(_named(y.title)))
            ]
        )
        .legend(legend())
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.SINGLE).sort(SortOrder.NONE))
        .override_by_name(x.title, [DynamicConfigValue(id_val="unit", value=x.unit)])
        .override_by_name(y.title, [DynamicConfigValue(id_val="unit", value=y.unit)])
    )
    return describe(panel, described)


def title_of(label: str) -> str:
    """Return the title of the column of a label."""
    return label.replace("_", " ").capitalize()


def _named(title: str) -> xychart.MatcherConfig:
    return xychart.MatcherConfig().id("byName").options(title)


def _transformations(keys: Sequence[str], columns: Sequence[Column]) -> list[DataTransformerConfig]:
    titles = {key: title_of(key) for key in keys}
    titles |= {f"Value #{ref_id(at)}": column.title for at, column in enumerate(columns)}
    if len(columns) == 1:
        # Grafana adds the letter of the query only if there are several.
        titles["Value"] = columns[0].title
    order = {name: at for at, name in enumerate(titles)}
    return [
        DataTransformerConfig(id_val="merge", options={}),
        DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True},
                "indexByName": order,
                "renameByName": titles,
            },
        ),
    ]


def _properties(column: Column) -> list[DynamicConfigValue]:
    found = [DynamicConfigValue(id_val="unit", value=column.unit)]
    if column.steps is not None:
        found += [
            DynamicConfigValue(id_val="thresholds", value=thresholds.config(column.steps).build()),
            DynamicConfigValue(
                id_val="custom.cellOptions",
                value={
                    "type": TableCellDisplayMode.COLOR_BACKGROUND.value,
                    "mode": TableCellBackgroundDisplayMode.BASIC.value,
                },
            ),
        ]
    return found
