"""The HTTP server: application, protocol, fast path for agents, and OpenAPI document."""
