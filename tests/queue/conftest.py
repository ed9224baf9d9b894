"""Fixtures for the tests of the queue."""

from databases import cluster, database, engine, migrated, new_database, settings, template_file

__all__ = [
    "cluster",
    "database",
    "engine",
    "migrated",
    "new_database",
    "settings",
    "template_file",
]
