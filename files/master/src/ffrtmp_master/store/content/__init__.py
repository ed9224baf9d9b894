"""Storage of the bytes of artifacts and sources, in files or in the database."""
