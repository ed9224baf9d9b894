"""Storage of the master: the database and the files. It does not depend on HTTP."""
