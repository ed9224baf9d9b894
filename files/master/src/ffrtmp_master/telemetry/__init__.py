"""The metrics of the master."""
