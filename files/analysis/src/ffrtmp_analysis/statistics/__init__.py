"""Statistics of repeated measurements: intervals, tests, and the repeats that they need.

The intervals of medians and ratios make no assumption about the distribution of the noise, because
the noise of timings is skewed, has outliers, and changes between states of the machine.
"""
