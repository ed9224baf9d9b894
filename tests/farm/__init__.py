"""Master and agents together, as processes."""
