"""The dashboard Compare nodes."""

from farm_dashboards import links, thresholds, units, variables
from farm_dashboards.gpus import gpu_row
from farm_dashboards.hosts import host_row
from farm_dashboards.layout import FarmDashboard, Row
from farm_dashboards.overview import CPU_BUSY
from farm_dashboards.panels import Description, bars, graph
from farm_dashboards.queries import Query, growth
from farm_dashboards.result_queries import share
from farm_dashboards.tables import Column, grid

_CPU = 'job="cpu", node=~"$node"'
_RESULTS = 'job="results", node=~"$node"'
_THROTTLES = f"ffrtmp_node_package_throttles_total{{{_CPU}}}"
_SCENARIO = "encoder, preset, rate_point, scenario"


def _comparison() -> Row:
    return Row(
        "Comparison",
        [
            grid(
                Description(
                    number=1,
                    title="Nodes",
                    text="Nodes with the same hardware should have about the same speed. If one is "
                    "slower, compare its temperature, frequency and throttling with the others.",
                    unit="none",
                    width=24,
                ),
                ["node"],
                [
                    Column(
                        "Speed",
                        f"avg by (node) (ffrtmp_result_speed_ratio{{{_RESULTS}}})",
                        units.TIMES,
                    ),
                    Column(
                        "Energy per frame",
                        f"avg by (node) (ffrtmp_result_energy_joules_per_frame{{{_RESULTS}}})",
                        "joule",
                    ),
                    Column("CPU", CPU_BUSY, "percentunit"),
                    Column(
                        "Frequency",
                        f"avg by (node) (ffrtmp_node_cpu_frequency_hertz{{{_CPU}}})",
                        "hertz",
                    ),
                    Column(
                        "Hottest sensor",
                        f"max by (node) (ffrtmp_node_temperature_celsius{{{_CPU}}})",
                        "celsius",
                        thresholds.rising(80, 90),
                    ),
                    Column(
                        "Degraded results",
                        share(
                            "sum by (node) (ffrtmp_results_stored"
                            f'{{{_RESULTS}, verdict=~"degraded|invalid"}})',
                            f"sum by (node) (ffrtmp_results_stored{{{_RESULTS}}})",
                        ),
                        "percentunit",
                        thresholds.rising(0.1, 0.2),
                    ),
                ],
                [links.to_node()],
            ),
            bars(
                Description(
                    number=2,
                    title="Speed of the same encodes",
                    text="Speed of a node relative to the mean of all nodes in the same scenarios. "
                    "If nodes of the same kind differ, compare their conditions below. Scenarios "
                    "that only one node has measured count as 100 %.",
                    unit="percentunit",
                    width=12,
                ),
                Query(
                    f"avg by (node) (ffrtmp_result_speed_ratio{{{_RESULTS}}}"
                    f" / on ({_SCENARIO}) group_left ()"
                    f' avg by ({_SCENARIO}) (ffrtmp_result_speed_ratio{{job="results"}}))',
                    "{{node}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=3,
                    title="Speed of the control encode",
                    text="The control encode never changes. If its speed drifts, the node has "
                    "changed, and its results before and after are not comparable: look for "
                    "updates, throttling and other load.",
                    unit=units.TIMES,
                    width=12,
                    alerts=("ControlsDrift",),
                ),
                Query(
                    "max by (node, scenario) (ffrtmp_result_speed_ratio"
                    f'{{{_RESULTS}, scenario=~"control/.*"}})',
                    "{{node}} {{scenario}}",
                ),
                links_to_node=True,
            ),
        ],
    )


def _processors() -> Row:
    return Row(
        "Processors and slots",
        [
            graph(
                Description(
                    number=10,
                    title="CPU utilization",
                    text="Share of the CPU time that is used. During a measurement, other load "
                    "makes results degraded: find it with top on the node.",
                    unit="percentunit",
                ),
                Query(CPU_BUSY, "{{node}}"),
                maximum=1,
                links_to_node=True,
            ),
            graph(
                Description(
                    number=11,
                    title="Stolen CPU time",
                    text="Share of the CPU time that the hypervisor gave to other machines. If it "
                    "is not 0, speeds depend on the neighbors: use a dedicated host.",
                    unit="percentunit",
                    steps=thresholds.rising(0.01, 0.05),
                ),
                Query(
                    "avg by (node) (rate(ffrtmp_node_cpu_seconds_total"
                    f'{{{_CPU}, mode="steal"}}[$__rate_interval]))',
                    "{{node}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=12,
                    title="CPU frequency",
                    text="Mean frequency of the CPUs. If nodes of the same kind differ, compare "
                    "their governors and their cooling; the role worker can set the governor.",
                    unit="hertz",
                ),
                Query(f"avg by (node) (ffrtmp_node_cpu_frequency_hertz{{{_CPU}}})", "{{node}}"),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=13,
                    title="Temperature",
                    text="The hottest sensor of each node. Near its limit, a processor lowers its "
                    "frequency: clean the fans or lower the temperature of the room.",
                    unit="celsius",
                    steps=thresholds.rising(80, 90),
                    alerts=("TemperatureHigh",),
                ),
                Query(f"max by (node) (ffrtmp_node_temperature_celsius{{{_CPU}}})", "{{node}}"),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=14,
                    title="Thermal throttling",
                    text="Number of times in an hour that a processor package was throttled. "
                    "Results of that hour are degraded: improve the cooling, then repeat them.",
                    unit="none",
                    steps=thresholds.none_allowed(),
                    alerts=("CpuThrottled",),
                ),
                Query(
                    f"sum by (node) ({growth(_THROTTLES, '1h')})",
                    "{{node}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=15,
                    title="Load average",
                    text="Runnable tasks, mean of a minute. If it exceeds the number of CPUs, "
                    "tasks wait: configure fewer slots.",
                    unit="none",
                ),
                Query(
                    f'max by (node) (ffrtmp_node_load_average{{{_CPU}, minutes="1"}})',
                    "{{node}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=16,
                    title="CPUs used by slots",
                    text="CPU time per second of each slot, with FFmpeg. If it stays below the "
                    "CPUs of the slot, the encoder does not use all its threads.",
                    unit="none",
                    width=12,
                ),
                Query(
                    "sum by (node, slot) "
                    f"(rate(ffrtmp_slot_cpu_seconds_total{{{_CPU}}}[$__rate_interval]))",
                    "{{node}} slot {{slot}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=17,
                    title="Memory of slots",
                    text="Memory of each slot, with cached files. If the sum approaches the memory "
                    "of the host, jobs fail with out_of_memory: configure fewer slots.",
                    unit="bytes",
                    width=12,
                ),
                Query(
                    f"max by (node, slot) (ffrtmp_slot_memory_bytes{{{_CPU}}})",
                    "{{node}} slot {{slot}}",
                ),
                links_to_node=True,
            ),
        ],
    )


def dashboard() -> FarmDashboard:
    """Return the dashboard."""
    return FarmDashboard(
        links.NODES,
        "Compare nodes",
        "Whether nodes measure under the same conditions, and why one is slower than another.",
        [variables.node()],
        [_comparison(), _processors(), host_row(), gpu_row()],
    )
