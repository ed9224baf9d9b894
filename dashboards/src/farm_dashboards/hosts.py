"""The panels of the operating system of nodes."""

from farm_dashboards import thresholds
from farm_dashboards.layout import Row
from farm_dashboards.panels import Description, bars, graph
from farm_dashboards.queries import Query, growth

_NODE = 'job="node", node=~"$node"'
_HEALTH = 'job="health", node=~"$node"'
_OOM_KILLS = f"node_vmstat_oom_kill{{{_NODE}}}"
_REAL = 'fstype!~"tmpfs|ramfs|squashfs|iso9660|nsfs|fuse.*"'
_DAY_S = 86_400


def host_row() -> Row:
    """Return the row of the operating system."""
    return Row(
        "Operating system",
        [
            graph(
                Description(
                    number=20,
                    title="Free disk space",
                    text="Share of free space of the fullest file system of each host. Workers "
                    "need space for sources and outputs: remove old caches or enlarge the disk.",
                    unit="percentunit",
                    steps=thresholds.falling(0.1, 0.03),
                    alerts=("NodeDiskNearlyFull",),
                ),
                Query(
                    f"min by (node) (node_filesystem_avail_bytes{{{_NODE}, {_REAL}}}"
                    f" / node_filesystem_size_bytes{{{_NODE}, {_REAL}}})",
                    "{{node}}",
                ),
                maximum=1,
                links_to_node=True,
            ),
            bars(
                Description(
                    number=21,
                    title="Time until disks are full",
                    text="Time until a file system is full at its present rate, at most 30 days. "
                    "Below a day, find the files that grow before services fail.",
                    unit="s",
                    steps=thresholds.falling(3 * _DAY_S, _DAY_S),
                    alerts=("DiskFillsSoon",),
                ),
                Query(
                    f"min by (node, mountpoint) (ffrtmp_node_disk_full_in_seconds{{{_HEALTH}}})",
                    "{{node}} {{mountpoint}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=22,
                    title="Available memory",
                    text="Memory that programs can get without swapping. If it is small during "
                    "encodes, the kernel may end FFmpeg: configure fewer slots.",
                    unit="bytes",
                ),
                Query(f"min by (node) (node_memory_MemAvailable_bytes{{{_NODE}}})", "{{node}}"),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=23,
                    title="Processes killed for lack of memory",
                    text="Processes that the kernel killed in an hour. Jobs that ran then were "
                    "retried or disturbed: configure fewer slots or a memory limit.",
                    unit="none",
                    steps=thresholds.none_allowed(),
                    alerts=("OutOfMemory",),
                ),
                Query(
                    f"sum by (node) ({growth(_OOM_KILLS, '1h')})",
                    "{{node}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=24,
                    title="Clock offset",
                    text="Difference of the clock from that of the master. Above a second, times "
                    "of live streams are wrong: check the time service of the host.",
                    unit="s",
                    steps=thresholds.rising(0.5, 1),
                    alerts=("ClockOffset",),
                ),
                Query(
                    f"max by (node) (abs(ffrtmp_node_clock_offset_seconds{{{_HEALTH}}}))",
                    "{{node}}",
                ),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=25,
                    title="Failed units",
                    text="Units of systemd in the state failed, as the agent reports. List them "
                    "with systemctl --failed on the node.",
                    unit="none",
                    steps=thresholds.none_allowed(),
                    alerts=("UnitsFailed",),
                ),
                Query(f"max by (node) (ffrtmp_node_failed_units{{{_HEALTH}}})", "{{node}}"),
                links_to_node=True,
            ),
            graph(
                Description(
                    number=26,
                    title="Network traffic",
                    text="Bits per second that each host receives and sends. If it reaches the "
                    "speed of the link, the transfer of sources delays jobs.",
                    unit="bps",
                    width=24,
                ),
                Query(
                    "8 * sum by (node) (rate(node_network_receive_bytes_total"
                    f'{{{_NODE}, device!="lo"}}[$__rate_interval]))',
                    "{{node}} received",
                ),
                Query(
                    "8 * sum by (node) (rate(node_network_transmit_bytes_total"
                    f'{{{_NODE}, device!="lo"}}[$__rate_interval]))',
                    "{{node}} sent",
                ),
                links_to_node=True,
            ),
        ],
    )
