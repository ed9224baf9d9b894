"""How Alembic runs the migrations: on the connection that it is handed, in its transaction."""

from alembic import context

from ffrtmp_master.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
