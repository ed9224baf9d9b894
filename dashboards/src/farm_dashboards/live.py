"""The dashboard Live and quality of experience."""

from farm_dashboards import links, thresholds, variables
from farm_dashboards.layout import FarmDashboard, Row
from farm_dashboards.panels import Description, bars, graph
from farm_dashboards.queries import Query
from farm_dashboards.result_queries import ENCODE, ENCODE_LEGEND, FILTER, age_s, mean, named
from farm_dashboards.tables import Column, grid

_STREAM = ("node", "scenario", *ENCODE)
_LIVE = 'job="ffmpeg", kind="live", node=~"$node", encoder=~"$encoder"'
_STREAM_LEGEND = "{{node}} {{scenario}}"


def _present() -> Row:
    return Row(
        "Streams in progress",
        [
            graph(
                Description(
                    number=1,
                    title="Lag of the encoder",
                    text="Largest delay of the encoder of each live stream. A lag that grows means "
                    "that the encode is slower than real time: use a faster preset or fewer slots.",
                    unit="s",
                    steps=thresholds.rising(1, 3),
                    width=12,
                ),
                Query(
                    "max by (node, slot, encoder) "
                    f"(max_over_time(ffrtmp_ffmpeg_lag_seconds{{{_LIVE}}}[$__rate_interval]))",
                    "{{node}} slot {{slot}} {{encoder}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=2,
                    title="Bit rate that reaches the player",
                    text="Bit rate of each live stream at the player. If it drops to 0 while the "
                    "slot runs, check the RTMP server and the network.",
                    unit="bps",
                    width=12,
                ),
                Query(
                    "8 * max by (node, slot, encoder) (avg_over_time("
                    f"ffrtmp_ffmpeg_video_rate_bytes_per_second{{{_LIVE}}}[$__rate_interval]))",
                    "{{node}} slot {{slot}} {{encoder}}",
                ),
                links_to_node=True,
            ),
        ],
    )


def _quantile(metric: str, quantile: str) -> str:
    return mean(metric, _STREAM, job="qoe", matchers=f'quantile="{quantile}"')


def _streams() -> Row:
    end_to_end = "ffrtmp_qoe_live_end_to_end_seconds"
    return Row(
        "Experience of the viewers",
        [
            grid(
                Description(
                    number=10,
                    title="Latest live streams",
                    text="The most recent stream of each scenario on each node. Streams with "
                    "stalls or lost frames were not watchable: use a faster preset or a lower "
                    "bit rate.",
                    unit="none",
                    width=24,
                    height=9,
                ),
                _STREAM,
                [
                    Column("Lag p95", _quantile("ffrtmp_qoe_live_lag_seconds", "0.95"), "s"),
                    Column("End to end p50", _quantile(end_to_end, "0.5"), "s"),
                    Column("End to end p95", _quantile(end_to_end, "0.95"), "s"),
                    Column(
                        "Start-up",
                        mean("ffrtmp_qoe_live_startup_seconds", _STREAM, job="qoe"),
                        "s",
                    ),
                    Column(
                        "Stall ratio",
                        mean("ffrtmp_qoe_live_stall_ratio", _STREAM, job="qoe"),
                        "percentunit",
                        thresholds.rising(0.001, 0.01),
                    ),
                    Column(
                        "Stalls",
                        mean("ffrtmp_qoe_live_stalls", _STREAM, job="qoe"),
                        "none",
                        thresholds.none_allowed(),
                    ),
                    Column(
                        "Lost frames",
                        mean("ffrtmp_qoe_live_lost_frames", _STREAM, job="qoe"),
                        "none",
                        thresholds.none_allowed(),
                    ),
                    Column(
                        "Reconnects",
                        mean("ffrtmp_qoe_live_reconnects", _STREAM, job="qoe"),
                        "none",
                        thresholds.none_allowed(),
                    ),
                ],
                [links.to_node()],
            ),
            bars(
                Description(
                    number=11,
                    title="End-to-end delay",
                    text="Delay until a player receives a picture, by quantile; 1 is the maximum. "
                    "A large distance between quantiles needs a larger buffer in players.",
                    unit="s",
                    steps=thresholds.rising(2, 5),
                ),
                Query(
                    f'max by (scenario, quantile) ({end_to_end}{{job="qoe", {FILTER}}})',
                    "{{scenario}} {{quantile}}",
                ),
            ),
            bars(
                Description(
                    number=12,
                    title="Stall ratio",
                    text="Share of the stream in which its encoder was slower than real time. "
                    "Above 1 %, viewers leave: use a faster preset.",
                    unit="percentunit",
                    steps=thresholds.rising(0.001, 0.01),
                ),
                Query(
                    mean("ffrtmp_qoe_live_stall_ratio", ("node", "scenario"), job="qoe"),
                    _STREAM_LEGEND,
                ),
                links_to_node=True,
            ),
            bars(
                Description(
                    number=13,
                    title="Session score",
                    text="Quality minus the penalty of stalls (Comyco 2019), at most 84.69. Only "
                    "streams whose received quality was measured have one. Compare scores of the "
                    "same source.",
                    unit="none",
                    steps=thresholds.falling(70, 40),
                ),
                Query(
                    mean("ffrtmp_qoe_session_score", ("node", "scenario", "method"), job="qoe"),
                    "{{node}} {{scenario}} {{method}}",
                ),
                links_to_node=True,
            ),
        ],
    )


def _density() -> Row:
    return Row(
        "Density",
        [
            bars(
                Description(
                    number=20,
                    title="Streams in real time",
                    text="Streams that the node encoded together in real time. It is the capacity "
                    "of the node for this encode: plan with a reserve for other load.",
                    unit="none",
                    steps=thresholds.at_least(1),
                    width=12,
                ),
                Query(
                    mean("ffrtmp_result_density_streams", ("node", "scenario")),
                    _STREAM_LEGEND,
                ),
                links_to_node=True,
            ),
            bars(
                Description(
                    number=21,
                    title="Cost of an hour of each stream",
                    text="Cost of the host and of energy per hour of each stream that ran at the "
                    "same time. The cheapest node for a service has the lowest sum.",
                    unit="none",
                    width=12,
                ),
                Query(
                    "sum by (node, scenario, currency) "
                    f'(ffrtmp_cost_per_stream_hour{{job="cost", {FILTER}}})',
                    "{{node}} {{scenario}} {{currency}}",
                ),
                links_to_node=True,
            ),
        ],
    )


def _quality() -> Row:
    scores = (
        ("VMAF", "ffrtmp_qoe_vmaf_mean", "none"),
        ("Harmonic mean", "ffrtmp_qoe_vmaf_harmonic_mean", "none"),
        ("p5", "ffrtmp_qoe_vmaf_p5", "none"),
        ("p1", "ffrtmp_qoe_vmaf_p1", "none"),
        ("Minimum", "ffrtmp_qoe_vmaf_min", "none"),
        ("VMAF NEG", "ffrtmp_qoe_vmaf_neg_mean", "none"),
        ("PSNR", "ffrtmp_qoe_psnr_y_decibels", "dB"),
        ("SSIM", "ffrtmp_qoe_ssim_ffmpeg_ratio", "none"),
        ("XPSNR", "ffrtmp_qoe_xpsnr_y_decibels", "dB"),
    )
    return Row(
        "Picture quality",
        [
            grid(
                Description(
                    number=30,
                    title="Scores",
                    text="Means over nodes. A low p1 with a good mean is a scene that breaks: view "
                    "it. Use VMAF NEG to compare codecs, because it does not reward sharpening.",
                    unit="none",
                    width=24,
                    height=9,
                ),
                ("scenario", *ENCODE),
                [
                    *(
                        Column(title, mean(metric, ("scenario", *ENCODE), job="qoe"), unit)
                        for title, metric, unit in scores
                    ),
                    Column(
                        "Age",
                        age_s(
                            "ffrtmp_qoe_measured_timestamp_seconds",
                            ("scenario", *ENCODE),
                            job="qoe",
                        ),
                        "s",
                    ),
                ],
                [links.to_run()],
            ),
            bars(
                Description(
                    number=31,
                    title="VMAF per watt",
                    text="Mean VMAF divided by the power of CPUs, memory and GPUs, not of the "
                    "whole host. Compare only encodes of about the same quality.",
                    unit="none",
                ),
                Query(named(mean("ffrtmp_qoe_vmaf_per_watt", job="qoe")), ENCODE_LEGEND),
            ),
            bars(
                Description(
                    number=32,
                    title="VMAF per Mbit/s",
                    text="Mean VMAF divided by the bit rate. It ranks poor quality high: compare "
                    "only encodes of about the same quality, or use the curves of the dashboard "
                    "Run.",
                    unit="none",
                ),
                Query(
                    named("1e6 * " + mean("ffrtmp_qoe_vmaf_per_bit_per_second", job="qoe")),
                    ENCODE_LEGEND,
                ),
            ),
            bars(
                Description(
                    number=33,
                    title="VMAF per cost",
                    text="Mean VMAF divided by the cost of a minute of video. Without a price book "
                    "there are no values: see the dashboard Energy, cost and carbon.",
                    unit="none",
                ),
                Query(
                    named(mean("ffrtmp_qoe_vmaf_per_cost", (*ENCODE, "currency"), job="qoe")),
                    ENCODE_LEGEND + " {{currency}}",
                ),
            ),
            grid(
                Description(
                    number=34,
                    title="VMAF models",
                    text="Number of latest results by the model with which VMAF was computed. "
                    "Scores of different models are not comparable: use one model in all suites.",
                    unit="none",
                    width=24,
                    height=5,
                ),
                ["model"],
                [
                    Column(
                        "Results",
                        f'count by (model) (ffrtmp_qoe_vmaf_model_info{{job="qoe", {FILTER}}})',
                        "none",
                    )
                ],
            ),
        ],
    )


def dashboard() -> FarmDashboard:
    """Return the dashboard."""
    return FarmDashboard(
        links.LIVE,
        "Live and quality of experience",
        "What viewers experience: delay, stalls and picture quality, and how many streams a node "
        "can encode.",
        [variables.node(), variables.encoder(), variables.scenario()],
        [_present(), _streams(), _density(), _quality()],
    )
