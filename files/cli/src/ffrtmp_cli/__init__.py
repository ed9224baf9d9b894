"""The command ffrtmp: benchmarks on this computer, and the runs and results of a farm."""
