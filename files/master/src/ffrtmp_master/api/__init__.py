"""The HTTP API. Each module translates between HTTP and the queue or store for one resource."""
