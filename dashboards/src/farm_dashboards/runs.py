"""The dashboard Run."""

from farm_dashboards import links, thresholds, units, variables
from farm_dashboards.layout import FarmDashboard, Row
from farm_dashboards.panels import Description, bars, graph
from farm_dashboards.queries import Query
from farm_dashboards.result_queries import ENCODE, ENCODE_LEGEND, FILTER, age_s, mean, named, share
from farm_dashboards.tables import Column, grid, scatter

_BIT_RATE = "8 * " + mean("ffrtmp_result_video_rate_bytes_per_second")
_SAMPLES = 'node=~"$node", encoder=~"$encoder", scenario=~"$scenario"'
_NOT_VALID = ', verdict=~"degraded|invalid"'
_SAMPLE_LEGEND = "{{node}} {{scenario}}"


def _curves() -> Row:
    return Row(
        "Rate and distortion",
        [
            scatter(
                Description(
                    number=1,
                    title="Quality by bit rate",
                    text="Mean VMAF over the bit rate that was reached. At the same bit rate, the "
                    "higher line is the better encoder. Compare only encodes of the same source.",
                    unit="none",
                    width=12,
                    height=10,
                ),
                ENCODE,
                Column("Bit rate", _BIT_RATE, "bps"),
                Column("VMAF", mean("ffrtmp_result_vmaf_mean"), "none"),
            ),
            scatter(
                Description(
                    number=2,
                    title="Quality by speed",
                    text="Mean VMAF over the speed. A point to the right of 1 can encode in real "
                    "time. Choose the highest point whose speed leaves a reserve.",
                    unit="none",
                    width=12,
                    height=10,
                ),
                ENCODE,
                Column("Speed", mean("ffrtmp_result_speed_ratio"), units.TIMES),
                Column("VMAF", mean("ffrtmp_result_vmaf_mean"), "none"),
            ),
        ],
    )


def _speed() -> Row:
    by = ("node", "scenario", *ENCODE)
    return Row(
        "Speed and bit rate",
        [
            grid(
                Description(
                    number=10,
                    title="Latest results",
                    text="The most recent run of each scenario on each node, at the end of the "
                    "time range. Select an earlier end to see an earlier run. Repeat a scenario "
                    "whose interval is wide.",
                    unit="none",
                    width=24,
                    height=10,
                ),
                by,
                [
                    Column("Speed", mean("ffrtmp_result_speed_ratio", by), units.TIMES),
                    Column(
                        "Frame rate",
                        mean("ffrtmp_result_frames_per_second", by),
                        units.FRAMES_PER_SECOND,
                    ),
                    Column(
                        "Bit rate",
                        "8 * " + mean("ffrtmp_result_video_rate_bytes_per_second", by),
                        "bps",
                    ),
                    Column("VMAF", mean("ffrtmp_result_vmaf_mean", by), "none"),
                    Column("CPU per frame", mean("ffrtmp_result_cpu_seconds_per_frame", by), "s"),
                    Column(
                        "Energy per frame",
                        mean("ffrtmp_result_energy_joules_per_frame", by),
                        "joule",
                    ),
                    Column(
                        "Interval",
                        mean("ffrtmp_result_speed_interval_halfwidth_ratio", by),
                        "percentunit",
                        thresholds.rising(0.02, 0.05),
                    ),
                    Column("Age", age_s("ffrtmp_result_timestamp_seconds", by), "s"),
                ],
                [links.to_node()],
            ),
            bars(
                Description(
                    number=11,
                    title="Speed",
                    text="Source duration over encode time. An encode below 1 cannot run in real "
                    "time on this hardware: use a faster preset.",
                    unit=units.TIMES,
                    steps=thresholds.at_least(1),
                ),
                Query(named(mean("ffrtmp_result_speed_ratio")), ENCODE_LEGEND),
            ),
            bars(
                Description(
                    number=12,
                    title="Bit rate",
                    text="Bit rate of the video that was reached. If it exceeds the rate point, "
                    "the rate control has no limit: set a maximum rate in the suite.",
                    unit="bps",
                ),
                Query(named(_BIT_RATE), ENCODE_LEGEND),
            ),
            bars(
                Description(
                    number=13,
                    title="CPU time per frame",
                    text="CPU time of one frame, user and system. It tells how many streams fit on "
                    "a host: divide the available CPU time per second by frames per second times "
                    "this value.",
                    unit="s",
                ),
                Query(named(mean("ffrtmp_result_cpu_seconds_per_frame")), ENCODE_LEGEND),
            ),
        ],
    )


def _stored_in_a_day(more: str = "") -> str:
    # The numbers of stored results decrease when retention removes results.
    stored = f'ffrtmp_results_stored{{job="results", node=~"$node"{more}}}'
    return f"sum by (node) (clamp_min(delta({stored}[1d]), 0))"


def _verdicts() -> Row:
    return Row(
        "Verdicts and precision",
        [
            bars(
                Description(
                    number=20,
                    title="Verdicts of the most recent run",
                    text="Results by node and verdict. Degraded results were measured on a "
                    "disturbed host: see the dashboard Compare nodes, remove the cause and repeat "
                    "the run.",
                    unit="none",
                ),
                Query(
                    f'sum by (node, verdict) (ffrtmp_result_verdicts{{job="results", {FILTER}}})',
                    "{{node}} {{verdict}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=21,
                    title="Share of degraded and invalid results",
                    text="Share of the results of the last day that are not valid; no data without "
                    "results. A share that rises means that the host or its neighbors have "
                    "changed.",
                    unit="percentunit",
                    steps=thresholds.rising(0.1, 0.2),
                    alerts=("VerdictsWorsen",),
                ),
                Query(
                    share(_stored_in_a_day(_NOT_VALID), _stored_in_a_day()),
                    "{{node}}",
                ),
                links_to_node=True,
            ),
            bars(
                Description(
                    number=22,
                    title="Widest intervals of the speed",
                    text="Half the width of the 95 % interval of the median speed, divided by the "
                    "median, of the ten least precise scenarios. Differences below it are not "
                    "significant: add repeats.",
                    unit="percentunit",
                    steps=thresholds.rising(0.02, 0.05),
                ),
                Query(
                    "topk(10, max by (node, scenario) "
                    "(ffrtmp_result_speed_interval_halfwidth_ratio"
                    f'{{job="results", {FILTER}}}))',
                    "{{node}} {{scenario}}",
                ),
                links_to_node=True,
            ),
        ],
    )


def _samples() -> Row:
    return Row(
        "During the encodes",
        [
            graph(
                Description(
                    number=30 + at,
                    title=title,
                    text=text,
                    unit=unit,
                    width=12,
                ),
                Query(f"avg by (node, scenario) ({metric}{{{_SAMPLES}}})", _SAMPLE_LEGEND),
                links_to_node=True,
            )
            for at, (title, metric, unit, text) in enumerate(
                (
                    (
                        "Frame rate",
                        "ffrtmp_sample_frames_per_second",
                        units.FRAMES_PER_SECOND,
                        "Frames per second in each second of a measurement. A repeat that is "
                        "slower than the others was disturbed.",
                    ),
                    (
                        "Output",
                        "ffrtmp_sample_output_bits_per_second",
                        "bps",
                        "Output of the encoder in each second. Peaks above the capacity of a "
                        "network cause lag in a live stream: limit the maximum rate.",
                    ),
                    (
                        "CPU utilization of the host",
                        "ffrtmp_sample_host_cpu_ratio",
                        "percentunit",
                        "CPU time of all processes in each second. If it is 1 with one encode, "
                        "other processes or slots compete with it.",
                    ),
                    (
                        "CPU frequency",
                        "ffrtmp_sample_cpu_frequency_hertz",
                        "hertz",
                        "Mean frequency of the CPUs in each second. If it falls during a run, the "
                        "host throttles: improve its cooling or set a fixed frequency.",
                    ),
                )
            )
        ],
    )


def dashboard() -> FarmDashboard:
    """Return the dashboard."""
    return FarmDashboard(
        links.RUN,
        "Run",
        "Which encoder, preset and rate point gives which quality at which speed and bit rate, and "
        "whether these results can be trusted.",
        [variables.node(), variables.encoder(), variables.scenario()],
        [_curves(), _speed(), _verdicts(), _samples()],
    )
