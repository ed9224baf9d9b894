"""The job queue: submission, claims, leases, retries, cancellation and parked claims."""
