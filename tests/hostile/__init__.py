"""Attacks on the listeners of a running farm."""
