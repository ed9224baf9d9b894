"""The benchmark of the master, run by `make bench-master`."""
