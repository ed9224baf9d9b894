"""The dashboard Energy, cost and carbon."""

from farm_dashboards import links, thresholds, variables
from farm_dashboards.layout import FarmDashboard, Row
from farm_dashboards.panels import Description, State, bars, graph, number, states_over_time
from farm_dashboards.queries import Query
from farm_dashboards.result_queries import ENCODE, ENCODE_LEGEND, mean, named
from farm_dashboards.tables import Column, grid

_CPU = 'job="cpu", node=~"$node"'
_GPU = 'job="gpu", node=~"$node"'
_COST = 'job="cost", node=~"$node"'
_YEAR_S = 365 * 86_400


def _power() -> Row:
    return Row(
        "Power",
        [
            graph(
                Description(
                    number=1,
                    title="Power by node",
                    text="Power of the CPU packages and memory, not of the whole host: a meter at "
                    "the wall shows more. Compare the idle power of nodes, and switch off those "
                    "without jobs.",
                    unit="watt",
                    width=12,
                ),
                Query(f"sum by (node) (ffrtmp_power_watts{{{_CPU}}})", "{{node}}"),
                is_stacked=True,
                links_to_node=True,
            ),
            number(
                Description(
                    number=2,
                    title="Energy of 24 hours",
                    text="Energy of the CPU packages, memory and GPUs of the selected nodes in the "
                    "last 24 hours. If it exceeds the budget, drain nodes that are idle.",
                    unit="kwatth",
                    width=4,
                    alerts=("EnergyBudgetExceeded",),
                ),
                Query(
                    f"sum(increase(ffrtmp_energy_joules_total{{{_CPU}}}[1d])"
                    f" or increase(ffrtmp_gpu_energy_joules_total{{{_GPU}}}[1d])) / 3.6e6",
                    "energy",
                ),
                decimals=3,
            ),
            states_over_time(
                Description(
                    number=3,
                    title="Energy counters",
                    text="Whether the energy counters of each node can be read. If not, its "
                    "results have no energy and no energy cost: see the reason in the panel below.",
                    unit="bool_yes_no",
                    steps=thresholds.at_least(1),
                    alerts=("EnergyUnavailable",),
                ),
                (State(0, "unavailable", thresholds.RED), State(1, "available", thresholds.GREEN)),
                Query(f"max by (node) (ffrtmp_energy_available{{{_CPU}}})", "{{node}}"),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=4,
                    title="Reasons without energy",
                    text="Nodes without energy, by reason. no_counter: the processor or the "
                    "hypervisor has none; others: check the service energy reader.",
                    unit="none",
                    width=12,
                    height=6,
                ),
                Query(
                    f"sum by (reason) (ffrtmp_energy_failure_info{{{_CPU}}})"
                    f" or label_replace(sum(1 - ffrtmp_energy_available{{{_CPU}}}),"
                    ' "reason", "all", "", "")',
                    "{{reason}}",
                ),
            ),
            graph(
                Description(
                    number=5,
                    title="Power of GPUs",
                    text="Power of the GPU boards; no data without NVIDIA GPUs. Add it to the "
                    "power of the CPUs for the cost of an encode.",
                    unit="watt",
                    width=12,
                    height=6,
                ),
                Query(
                    f"sum by (node) (ffrtmp_gpu_power_watts{{{_GPU}}})",
                    "{{node}}",
                ),
                is_stacked=True,
                links_to_node=True,
            ),
        ],
    )


def _encodes() -> Row:
    return Row(
        "Energy of encodes",
        [
            bars(
                Description(
                    number=10,
                    title="Energy per minute of video",
                    text="Energy of CPU packages, memory and GPUs for a minute of video. Of the "
                    "encodes with sufficient quality, choose the lowest.",
                    unit="joule",
                    width=12,
                ),
                Query(named(mean("ffrtmp_result_energy_joules_per_video_minute")), ENCODE_LEGEND),
            ),
            bars(
                Description(
                    number=11,
                    title="Energy per frame",
                    text="Energy of CPU packages, memory and GPUs for a frame. It grows with the "
                    "resolution: compare only encodes of the same size.",
                    unit="joule",
                    width=12,
                ),
                Query(named(mean("ffrtmp_result_energy_joules_per_frame")), ENCODE_LEGEND),
            ),
        ],
    )


def _components(metric: str) -> str:
    return named(mean(metric, (*ENCODE, "currency", "component"), job="cost"))


def _cost() -> Row:
    legend = ENCODE_LEGEND + " {{component}} {{currency}}"
    return Row(
        "Cost",
        [
            bars(
                Description(
                    number=20,
                    title="Cost per minute of video",
                    text="Cost of host and energy for a minute of video; add them up. If the host "
                    "dominates, faster encodes are cheaper; if energy does, efficient ones are.",
                    unit="none",
                ),
                Query(_components("ffrtmp_cost_per_video_minute"), legend),
            ),
            bars(
                Description(
                    number=21,
                    title="Cost per hour of a stream",
                    text="Cost of an hour of each stream of a density or live run; add the "
                    "components up. It falls with the number of streams per host.",
                    unit="none",
                ),
                Query(_components("ffrtmp_cost_per_stream_hour"), legend),
            ),
            bars(
                Description(
                    number=22,
                    title="Cost per hour of a ladder",
                    text="Cost of an hour of video with all renditions; add the components up. "
                    "Remove renditions that few viewers request.",
                    unit="none",
                ),
                Query(_components("ffrtmp_cost_per_ladder_hour"), legend),
            ),
            graph(
                Description(
                    number=23,
                    title="Cost of nodes per hour",
                    text="Mean cost of each node in the last 24 hours, for busy and idle time. A "
                    "high share of idle cost means that the farm is too large for its load.",
                    unit="none",
                    width=12,
                    alerts=("CostBudgetExceeded",),
                ),
                Query(
                    f"sum by (node, use, currency) (ffrtmp_node_cost_per_hour{{{_COST}}})",
                    "{{node}} {{use}} {{currency}}",
                ),
                is_stacked=True,
                links_to_node=True,
            ),
            graph(
                Description(
                    number=24,
                    title="Results with and without a cost",
                    text="Latest results by whether their cost is known, or the reason why not. "
                    "Add the missing prices or nodes to the price book.",
                    unit="none",
                    width=12,
                ),
                Query(
                    f"sum by (reason) (ffrtmp_cost_available{{{_COST}}})",
                    "{{reason}}",
                ),
                is_stacked=True,
            ),
            number(
                Description(
                    number=25,
                    title="Age of the prices",
                    text="Time since the present entry of the price book became valid. After a "
                    "year, prices and carbon intensities have changed: add an entry.",
                    unit="s",
                    steps=thresholds.rising(_YEAR_S, 400 * 86_400),
                    height=5,
                    alerts=("PriceBookOld",),
                ),
                Query(
                    'time() - max(ffrtmp_price_book_valid_from_timestamp_seconds{job="cost"})',
                    "age",
                ),
            ),
            grid(
                Description(
                    number=26,
                    title="Price book",
                    text="Source and currency of the prices that are valid now. If the source is "
                    "not yours, costs are those of the example: set your price book.",
                    unit="none",
                    width=16,
                    height=5,
                ),
                ["source", "currency"],
                [
                    Column(
                        "Entries",
                        'max by (source, currency) (ffrtmp_price_book_info{job="cost"})',
                        "none",
                    )
                ],
            ),
        ],
    )


def _carbon() -> Row:
    return Row(
        "Carbon",
        [
            bars(
                Description(
                    number=30,
                    title="Carbon per minute of video",
                    text="Carbon dioxide equivalent of a minute of video (SCI, ISO/IEC 21031); add "
                    "operational and embodied carbon up. Run flexible jobs in the region with the "
                    "lowest intensity.",
                    unit="massg",
                    width=12,
                ),
                Query(
                    named(
                        mean(
                            "ffrtmp_carbon_grams_per_video_minute",
                            (*ENCODE, "component"),
                            job="cost",
                        )
                    ),
                    ENCODE_LEGEND + " {{component}}",
                ),
            ),
            graph(
                Description(
                    number=31,
                    title="Results with and without carbon",
                    text="Latest results by whether their carbon is known, or the reason why not. "
                    "Add the missing intensities or embodied carbon to the price book.",
                    unit="none",
                    width=12,
                ),
                Query(
                    f"sum by (reason) (ffrtmp_carbon_available{{{_COST}}})",
                    "{{reason}}",
                ),
                is_stacked=True,
            ),
        ],
    )


def dashboard() -> FarmDashboard:
    """Return the dashboard."""
    return FarmDashboard(
        links.ENERGY,
        "Energy, cost and carbon",
        "What an encode costs in energy, money and carbon, and what idle nodes cost.",
        [variables.node(), variables.encoder(), variables.scenario()],
        [_power(), _encodes(), _cost(), _carbon()],
        period="now-24h",
    )
