"""Benchmarks of the master and the worker, for `make bench-master` and `make bench-worker`."""
