"""What the master and the workers of a farm agree on: wire types, suites, states, the client."""

__version__ = "0.2.0"
