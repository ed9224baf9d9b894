"""Sections of a report, each a function of the data of the run."""
