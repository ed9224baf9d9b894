"""Planning and statistics of runs: expansion, placement, adaptive repeats and precision."""
