"""The panels of GPUs. They have data only on nodes with an NVIDIA GPU."""

from farm_dashboards import thresholds
from farm_dashboards.layout import Row
from farm_dashboards.panels import Description, State, graph, states_over_time
from farm_dashboards.queries import Query, growth

_GPU = 'job="gpu", node=~"$node"'
_ECC_ERRORS = f"ffrtmp_gpu_ecc_errors_total{{{_GPU}}}"
_FAULTS = "hw_slowdown|sw_thermal|hw_thermal|power_brake"


def gpu_row() -> Row:
    """Return the row of the GPUs."""
    return Row(
        "GPUs",
        [
            states_over_time(
                Description(
                    number=30,
                    title="Usable GPUs",
                    text="Whether the driver reports a usable GPU; always no on hosts without "
                    "one. If a GPU disappears, read the kernel log and restart the host.",
                    unit="bool_yes_no",
                    alerts=("GpuLost",),
                ),
                (State(0, "none", thresholds.BLUE), State(1, "usable", thresholds.GREEN)),
                Query(f"max by (node) (ffrtmp_gpu_available{{{_GPU}}})", "{{node}}"),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=31,
                    title="GPU utilization",
                    text="Share of time in which a unit of a GPU was busy. If encoder is 1, more "
                    "streams only share it.",
                    unit="percentunit",
                ),
                Query(
                    f"max by (node, gpu, unit) (ffrtmp_gpu_utilization_ratio{{{_GPU}}})",
                    "{{node}} {{unit}}",
                ),
                maximum=1,
                links_to_node=True,
            ),
            graph(
                Description(
                    number=32,
                    title="GPU temperature",
                    text="Temperature of each GPU. Near its limit, it lowers its clocks: improve "
                    "the cooling.",
                    unit="celsius",
                    steps=thresholds.rising(75, 85),
                    alerts=("GpuTemperatureHigh",),
                ),
                Query(
                    f"max by (node, gpu) (ffrtmp_gpu_temperature_celsius{{{_GPU}}})",
                    "{{node}} {{gpu}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=33,
                    title="Throttled clocks",
                    text="GPUs whose clocks are lowered because of heat or their power supply. "
                    "Results of that time are degraded.",
                    unit="none",
                    steps=thresholds.none_allowed(),
                    alerts=("GpuThrottled",),
                ),
                Query(
                    f'sum by (node, reason) (ffrtmp_gpu_throttled{{{_GPU}, reason=~"{_FAULTS}"}})',
                    "{{node}} {{reason}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=34,
                    title="Memory errors",
                    text="Memory errors in an hour, by type. After an uncorrected error, pictures "
                    "may be damaged: do not trust results of this GPU, and have it checked.",
                    unit="none",
                    steps=thresholds.none_allowed(),
                    alerts=("GpuMemoryErrors",),
                ),
                Query(
                    f"sum by (node, type) ({growth(_ECC_ERRORS, '1h')})",
                    "{{node}} {{type}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=35,
                    title="Encoder sessions",
                    text="Open NVENC sessions. A consumer GPU permits only a few: jobs beyond that "
                    "number fail.",
                    unit="none",
                ),
                Query(
                    f"sum by (node) (ffrtmp_gpu_encoder_sessions{{{_GPU}}})",
                    "{{node}}",
                ),
                links_to_node=True,
            ),
        ],
    )
