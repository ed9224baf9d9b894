"""The HTTP API: one module a resource. Each translates between HTTP and queue or store."""
