"""The dashboard Farm overview."""

from farm_dashboards import links, thresholds, units, variables
from farm_dashboards.layout import FarmDashboard, Row
from farm_dashboards.panels import Description, State, graph, number, state, states_over_time
from farm_dashboards.queries import Query
from farm_dashboards.tables import Column, grid

NODE_STATES = (
    State(0, "offline", thresholds.RED),
    State(1, "active", thresholds.GREEN),
    State(2, "draining", thresholds.YELLOW),
)
NODE_STATE = (
    'max by (node) (ffrtmp_node_state{job="health", state="active", node=~"$node"})'
    ' + 2 * max by (node) (ffrtmp_node_state{job="health", state="draining", node=~"$node"})'
)
"""The state of each node, as a value of NODE_STATES."""

CPU_BUSY = (
    "1 - avg by (node) (rate("
    'ffrtmp_node_cpu_seconds_total{job="cpu", mode="idle", node=~"$node"}[$__rate_interval]))'
)
"""The share of CPU time that each node uses."""

_READY = (State(0, "not ready", thresholds.RED), State(1, "ready", thresholds.GREEN))
_FFMPEG = 'job="ffmpeg", node=~"$node"'
_SLOT = "{{node}} slot {{slot}}"


def _status() -> Row:
    return Row(
        "Status",
        [
            state(
                Description(
                    number=1,
                    title="Master",
                    text="Whether all masters can serve. If one is not ready, agents keep their "
                    "measurements and wait: read its journal and check its disk and database.",
                    unit="none",
                    steps=thresholds.at_least(1),
                    width=4,
                    height=4,
                    alerts=("MasterNotReady",),
                ),
                _READY,
                Query('min(ffrtmp_master_ready{job="health"})', "Master"),
            ),
            number(
                Description(
                    number=2,
                    title="Nodes online",
                    text="Nodes that are online, and all nodes. If they differ, find the offline "
                    "node in the panel State of the nodes and check its agents.",
                    unit="none",
                    steps=thresholds.at_least(1),
                    width=4,
                    height=4,
                ),
                Query('sum(max by (node) (ffrtmp_node_up{job="health"}))', "online"),
                Query('count(max by (node) (ffrtmp_node_up{job="health"}))', "known"),
            ),
            number(
                Description(
                    number=3,
                    title="Firing alerts",
                    text="Alerts that are firing. The list is in the dashboard Queue and "
                    "monitoring health; each alert links to its page of the runbook. Without data, "
                    "the rules are not evaluated: check vmalert.",
                    unit="none",
                    steps=thresholds.none_allowed(),
                    width=4,
                    height=4,
                ),
                Query(
                    'count(ALERTS{alertstate="firing", alertname!="Watchdog"})'
                    ' or 0 * count(ALERTS{alertstate="firing", alertname="Watchdog"})',
                    "firing",
                ),
            ),
            number(
                Description(
                    number=4,
                    title="Targets down",
                    text="Components whose metrics cannot be read. If there are any, other panels "
                    "lack data: see the panel Targets of Queue and monitoring health.",
                    unit="none",
                    steps=thresholds.none_allowed(),
                    width=4,
                    height=4,
                ),
                Query('count(up{job=~".+"} == 0) or 0 * count(up{job=~".+"})', "down"),
            ),
            number(
                Description(
                    number=5,
                    title="Queued jobs",
                    text="Jobs that wait for a node. If the number stays high while slots are "
                    "idle, the panel Queue by reason states why they wait.",
                    unit="none",
                    width=4,
                    height=4,
                ),
                Query(
                    'sum(max by (priority, reason) (ffrtmp_master_jobs_queued{job="master"}))',
                    "queued",
                ),
            ),
            number(
                Description(
                    number=6,
                    title="Results of 24 hours",
                    text="Results that were stored in the last 24 hours. If it is 0 although runs "
                    "were submitted, check the nodes and the failed attempts.",
                    unit="none",
                    width=4,
                    height=4,
                ),
                Query('sum(increase(ffrtmp_master_results_total{job="master"}[1d]))', "results"),
                decimals=0,
            ),
        ],
    )


def _runs() -> Row:
    return Row(
        "Runs and nodes",
        [
            graph(
                Description(
                    number=10,
                    title="Jobs of unfinished runs",
                    text="Jobs of all unfinished runs by state. If running jobs drop to zero while "
                    "others are queued, no agent claims them.",
                    unit="none",
                    width=12,
                ),
                Query(
                    'sum by (state) (max by (state) (ffrtmp_run_jobs{job="health"}))', "{{state}}"
                ),
                is_stacked=True,
            ),
            states_over_time(
                Description(
                    number=11,
                    title="State of the nodes",
                    text="State of each node. A node that goes offline during a run loses its "
                    "leases: check its network and its agents. A draining node claims no jobs.",
                    unit="none",
                    steps=thresholds.at_least(1),
                    width=12,
                    alerts=("NodeOffline",),
                ),
                NODE_STATES,
                Query(NODE_STATE, "{{node}}"),
                links_to_node=True,
            ),
            grid(
                Description(
                    number=12,
                    title="Present state of the nodes",
                    text="Follow the link of a row to compare that node with others. A node with "
                    "failed units or a wrong clock produces results that you should not trust.",
                    unit="none",
                    width=24,
                ),
                ["node"],
                [
                    Column(
                        "Online",
                        'max by (node) (ffrtmp_node_up{job="health", node=~"$node"})',
                        "bool_yes_no",
                        thresholds.at_least(1),
                    ),
                    Column(
                        "Slots running",
                        f"sum by (node) (ffrtmp_ffmpeg_running{{{_FFMPEG}}})",
                        "none",
                    ),
                    Column("CPU", CPU_BUSY, "percentunit"),
                    Column(
                        "Hottest sensor",
                        'max by (node) (ffrtmp_node_temperature_celsius{job="cpu", node=~"$node"})',
                        "celsius",
                        thresholds.rising(80, 90),
                    ),
                    Column(
                        "Failed units",
                        'max by (node) (ffrtmp_node_failed_units{job="health", node=~"$node"})',
                        "none",
                        thresholds.none_allowed(),
                    ),
                    Column(
                        "Last request",
                        "time() - max by (node) (ffrtmp_node_last_seen_timestamp_seconds"
                        '{job="health", node=~"$node"})',
                        "s",
                        thresholds.rising(60, 300),
                    ),
                ],
                [links.to_node()],
            ),
        ],
    )


def _activity() -> Row:
    return Row(
        "Current FFmpeg activity",
        [
            graph(
                Description(
                    number=20,
                    title="Slots with a job",
                    text="Slots that run a job, by node. If slots are idle while jobs are queued, "
                    "see Queue by reason.",
                    unit="none",
                ),
                Query(f"sum by (node) (ffrtmp_ffmpeg_running{{{_FFMPEG}}})", "{{node}}"),
                is_stacked=True,
                links_to_node=True,
            ),
            graph(
                Description(
                    number=21,
                    title="Slots by stage",
                    text="Slots by the stage of their job. If many slots stay in a stage other "
                    "than encoding, the transfer of sources or the quality pass takes the time.",
                    unit="none",
                ),
                Query(
                    f'sum by (stage) (ffrtmp_ffmpeg_stage{{{_FFMPEG}, stage!="idle"}})',
                    "{{stage}}",
                ),
                is_stacked=True,
            ),
            graph(
                Description(
                    number=22,
                    title="Frame rate",
                    text="Frames that are encoded per second, by slot. A drop to zero during a job "
                    "means that FFmpeg waits: check the disk and the source.",
                    unit=units.FRAMES_PER_SECOND,
                ),
                Query(
                    "sum by (node, slot) "
                    f"(rate(ffrtmp_ffmpeg_frames_total{{{_FFMPEG}}}[$__rate_interval]))",
                    _SLOT,
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=23,
                    title="Speed",
                    text="Speed of running encodes as a multiple of real time; 0 without a job. A "
                    "live stream below 1 falls behind: use a faster preset or fewer streams.",
                    unit=units.TIMES,
                    steps=thresholds.at_least(1),
                ),
                Query(
                    f"max by (node, slot) (ffrtmp_ffmpeg_speed_ratio{{{_FFMPEG}}})"
                    f" or max by (node, slot) (0 * (ffrtmp_ffmpeg_running{{{_FFMPEG}}} == 0))",
                    _SLOT,
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=24,
                    title="Bit rate",
                    text="Bit rate of the video that is being encoded; 0 without a job. If it "
                    "differs much from the rate point, check the rate control of the scenario.",
                    unit="bps",
                ),
                Query(
                    "8 * max by (node, slot) "
                    f"(ffrtmp_ffmpeg_video_rate_bytes_per_second{{{_FFMPEG}}})"
                    f" or max by (node, slot) (0 * (ffrtmp_ffmpeg_running{{{_FFMPEG}}} == 0))",
                    _SLOT,
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=25,
                    title="Dropped and duplicated frames",
                    text="Frames per second that FFmpeg dropped or duplicated. They make results "
                    "incomparable: check the frame rate of the source and the load of the node.",
                    unit=units.FRAMES_PER_SECOND,
                    steps=thresholds.rising(0.1, 1),
                ),
                Query(
                    "sum by (node) "
                    f"(rate(ffrtmp_ffmpeg_dropped_frames_total{{{_FFMPEG}}}[$__rate_interval]))",
                    "{{node}} dropped",
                ),
                Query(
                    "sum by (node) "
                    f"(rate(ffrtmp_ffmpeg_duplicated_frames_total{{{_FFMPEG}}}[$__rate_interval]))",
                    "{{node}} duplicated",
                ),
                links_to_node=True,
            ),
        ],
    )


def _results() -> Row:
    results = 'job="results", node=~"$node"'
    return Row(
        "Latest results",
        [
            grid(
                Description(
                    number=30,
                    title="Latest results by scenario",
                    text="Means over the nodes. Follow the link of a row to its rate-distortion "
                    "curve and verdicts. Old results may come from another FFmpeg build.",
                    unit="none",
                    width=16,
                    height=10,
                ),
                ["scenario", "encoder", "rate_point"],
                [
                    Column(
                        title,
                        f"{factor}avg by (scenario, encoder, rate_point) ({metric}{{{results}}})",
                        unit,
                    )
                    for title, factor, metric, unit in (
                        ("Speed", "", "ffrtmp_result_speed_ratio", units.TIMES),
                        ("Bit rate", "8 * ", "ffrtmp_result_video_rate_bytes_per_second", "bps"),
                        ("VMAF", "", "ffrtmp_result_vmaf_mean", "none"),
                        ("Age", "time() - ", "ffrtmp_result_timestamp_seconds", "s"),
                    )
                ],
                [links.to_run()],
            ),
            graph(
                Description(
                    number=31,
                    title="Stored results by verdict",
                    text="All results that the master stores, by verdict. If degraded or invalid "
                    "results increase faster than valid ones, check the load of the nodes.",
                    unit="none",
                    height=10,
                ),
                Query(
                    f"sum by (verdict) (ffrtmp_results_stored{{{results}}})",
                    "{{verdict}}",
                ),
                is_stacked=True,
            ),
        ],
    )


def dashboard() -> FarmDashboard:
    """Return the dashboard."""
    return FarmDashboard(
        links.OVERVIEW,
        "Farm overview",
        "Whether the farm works, which runs are in progress, and what FFmpeg does now.",
        [variables.node()],
        [_status(), _runs(), _activity(), _results()],
    )
