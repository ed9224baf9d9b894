"""Shared code of the modules. It needs only Python's standard library."""
