"""Host tuning during a benchmark, and restoration of the previous settings."""
