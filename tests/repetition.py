"""Repetition of a step in a thread while a test does something else."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(step: Callable[[], object], pause_s: float = 0.0) -> Iterator[None]:
    """Call a function repeatedly in a thread, until the end of the context.

    Args:
        step: The function.
        pause_s: The time before each call, in seconds.
    """
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(pause_s):
            step()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
