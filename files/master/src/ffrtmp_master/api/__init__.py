"""The HTTP API: one module per resource, which translates between HTTP and the queue or store."""
