"""Repetition of a stored encode: by hand, or on this host with a comparison."""
