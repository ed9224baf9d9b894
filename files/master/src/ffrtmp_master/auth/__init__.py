"""Authentication, authorization and rate limits of API clients."""
