"""Run the migrations on the connection that the package hands over; the transaction is the caller's."""

from alembic import context

from image_similarity.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
