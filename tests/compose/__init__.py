"""The stack of compose.yaml on a machine with Docker."""
