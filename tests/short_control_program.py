"""Program that runs the master with control encodes of a small clip, which take about a second.

The command is `python tests/short_control_program.py ARGUMENTS...`, where ARGUMENTS are arguments
of ffrtmp-master.
"""

import msgspec
from ffrtmp_shared import control_encode
from ffrtmp_shared.scenario import SyntheticSource


def main() -> None:
    """Replace the control encode, and run the master."""
    small = SyntheticSource(
        content="motion", width=640, height=360, frame_rate="30", duration_s=5.0
    )
    usual = control_encode.SCENARIO
    control_encode.SCENARIO = msgspec.structs.replace(
        usual, source=msgspec.structs.replace(usual.source, synthetic=small), warm_up_s=0.2
    )
    # Modules of the master derive values from the control encode when they are imported.
    from ffrtmp_master import cli

    cli.main()


if __name__ == "__main__":
    main()
