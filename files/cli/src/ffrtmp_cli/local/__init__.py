"""Benchmarks on this computer: a master and an agent as processes of the command."""
