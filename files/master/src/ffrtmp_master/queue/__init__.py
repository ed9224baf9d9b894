"""The way of a job: expansion, claiming, leases, failures, cancelling, and who waits for work."""
