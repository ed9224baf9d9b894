"""Alembic environment: runs the migrations in the transaction of the given connection."""

from alembic import context

from ffrtmp_master.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
