"""Examples in the help of commands, which docs/cli.md contains and a test runs."""


def examples(*lines: str) -> str:
    """Return the epilog of a command with examples, which click does not wrap.

    Args:
        lines: The commands.
    """
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
