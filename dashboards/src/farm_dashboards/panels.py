"""Panels: their description, and their conversion to those of Grafana."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import bargauge, common, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BarGaugeNamePlacement,
    BarGaugeSizing,
    BarGaugeValueMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueJustifyMode,
    BigValueTextMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    PercentChangeColorMode,
    SortOrder,
    StackingMode,
    TimelineValueAlignment,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import FieldColorModeId

from farm_dashboards import links, thresholds
from farm_dashboards.queries import SOURCE, Query, instant_target, range_target

_LAST = ["lastNotNull"]


@dataclass(frozen=True)
class State:
    """A value of a state, with the text and the color that represent it."""

    value: int
    text: str
    color: str


@dataclass(frozen=True, kw_only=True)
class Description:
    """The properties of a panel of any kind.

    Attributes:
        number: The id of the panel. It is part of the links to the panel and never changes.
        title: The title.
        text: The meaning of the values, and the action that they suggest.
        unit: The unit, as Grafana names it.
        steps: The thresholds.
        width: The width in columns; a row has 24.
        height: The height in lines of the grid.
        alerts: The alerts about the values of the panel.
    """

    number: int
    title: str
    text: str
    unit: str
    steps: thresholds.Steps = thresholds.NEUTRAL
    width: int = 8
    height: int = 8
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True)
class FarmPanel(Builder[models.Panel]):
    """A panel of a dashboard."""

    described: Description
    content: models.Panel

    def build(self) -> models.Panel:
        """Return the panel for the builder of its dashboard."""
        return self.content


def describe(
    builder: Builder[models.Panel], described: Description, data_links: Sequence[DashboardLink] = ()
) -> FarmPanel:
    """Return a panel with its description.

    Args:
        builder: The builder of the panel, with its queries and the options of its kind.
        described: The description.
        data_links: The links of each value.
    """
    panel = builder.build()
    panel.id_val = described.number
    panel.title = described.title
    panel.description = described.text
    panel.datasource = SOURCE
    panel.links = [links.runbook(alert).build() for alert in described.alerts]
    config = panel.field_config
    if config is None or config.defaults is None:
        raise ValueError(f"the panel {described.title} has no fields")
    config.defaults.unit = described.unit
    config.defaults.thresholds = thresholds.config(described.steps).build()
    if data_links:
        config.defaults.links = [link.build() for link in data_links]
    return FarmPanel(described, panel)


def number(described: Description, *queries: Query, decimals: int | None = None) -> FarmPanel:
    """Return a panel with the present value of each query.

    Args:
        described: The description.
        *queries: The queries.
        decimals: The number of decimal places.
    """
    panel = _stat(queries).graph_mode(BigValueGraphMode.NONE)
    if decimals is not None:
        panel = panel.decimals(decimals)
    return describe(panel, described)


def state(described: Description, states: Sequence[State], *queries: Query) -> FarmPanel:
    """Return a panel with the present state, as a text.

    Args:
        described: The description.
        states: The states.
        *queries: The queries, whose values are those of the states.
    """
    panel = _stat(queries).graph_mode(BigValueGraphMode.NONE).mappings([_mapping(states)])
    return describe(panel, described)


def states_over_time(
    described: Description,
    states: Sequence[State],
    *queries: Query,
    links_to_node: bool = False,
) -> FarmPanel:
    """Return a panel with a bar for each series, whose colors are those of the states.

    Args:
        described: The description.
        states: The states.
        *queries: The queries, whose values are those of the states.
        links_to_node: Whether the series have the label node.
    """
    panel = (
        statetimeline.Panel()
        .targets([range_target(query, at) for at, query in enumerate(queries)])
        .mappings([_mapping(states)])
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .show_value(VisibilityMode.NEVER)
        .merge_values(True)
        .align_value(TimelineValueAlignment.LEFT)
        .row_height(0.8)
        .legend(legend())
        .tooltip(_tooltip())
    )
    return describe(panel, described, (links.series_to_node(),) if links_to_node else ())


def graph(
    described: Description,
    *queries: Query,
    is_stacked: bool = False,
    maximum: float | None = None,
    links_to_node: bool = False,
) -> FarmPanel:
    """Return a panel with a line for each series.

    Args:
        described: The description.
        *queries: The queries.
        is_stacked: Whether the values of all series add up to a total.
        maximum: The greatest possible value.
        links_to_node: Whether the series have the label node.
    """
    has_limit = len(described.steps) > 1
    panel = (
        timeseries.Panel()
        .targets([range_target(query, at) for at, query in enumerate(queries)])
        .color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .draw_style(GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(30 if is_stacked else 0)
        .show_points(VisibilityMode.AUTO)
        .axis_soft_min(0)
        .stacking(
            common.StackingConfig()
            .mode(StackingMode.NORMAL if is_stacked else StackingMode.NONE)
            .group("A")
        )
        .thresholds_style(
            common.GraphThresholdsStyleConfig().mode(
                GraphThresholdsStyleMode.DASHED if has_limit else GraphThresholdsStyleMode.OFF
            )
        )
        .legend(legend())
        .tooltip(_tooltip())
    )
    if maximum is not None:
        panel = panel.axis_soft_max(maximum)
    return describe(panel, described, (links.series_to_node(),) if links_to_node else ())


def bars(described: Description, *queries: Query, links_to_node: bool = False) -> FarmPanel:
    """Return a panel with a horizontal bar for each series, at the end of the time range.

    Args:
        described: The description.
        *queries: The queries.
        links_to_node: Whether the series have the label node.
    """
    panel = (
        bargauge.Panel()
        .targets([instant_target(query, at) for at, query in enumerate(queries)])
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .min(0)
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.GRADIENT)
        .value_mode(BarGaugeValueMode.COLOR)
        .name_placement(BarGaugeNamePlacement.LEFT)
        .show_unfilled(True)
        .sizing(BarGaugeSizing.AUTO)
        .min_viz_width(8)
        .min_viz_height(16)
        .max_viz_height(40)
        .reduce_options(common.ReduceDataOptions().calcs(_LAST))
        .legend(legend(is_shown=False))
    )
    return describe(panel, described, (links.series_to_node(),) if links_to_node else ())


def legend(*, is_shown: bool = True) -> common.VizLegendOptions:
    """Return a legend below the panel."""
    return (
        common.VizLegendOptions()
        .show_legend(is_shown)
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .calcs([])
    )


def _stat(queries: Sequence[Query]) -> stat.Panel:
    return (
        stat.Panel()
        .targets([instant_target(query, at) for at, query in enumerate(queries)])
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .color_mode(BigValueColorMode.BACKGROUND)
        .justify_mode(BigValueJustifyMode.AUTO)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if len(queries) > 1 else BigValueTextMode.AUTO)
        .wide_layout(True)
        .show_percent_change(False)
        .percent_change_color_mode(PercentChangeColorMode.STANDARD)
        .orientation(VizOrientation.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(_LAST))
    )


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)


def _mapping(states: Sequence[State]) -> models.ValueMapping:
    return models.ValueMap(
        options={
            str(item.value): models.ValueMappingResult(
                text=item.text, color=item.color, index=index
            )
            for index, item in enumerate(states)
        }
    )
