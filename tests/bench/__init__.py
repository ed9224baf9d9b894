"""Benchmarks of the master and the worker, run by `make bench-master` and `make bench-worker`."""
