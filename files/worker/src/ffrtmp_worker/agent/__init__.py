"""The agent: it claims jobs, runs them, and reports results."""
