"""The master's own metrics."""
