"""Making a host quiet and even while a benchmark lasts, and putting back what was there."""
