"""Planning and statistics of runs: expansion, placement, repeats, precision."""
