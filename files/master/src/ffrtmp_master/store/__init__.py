"""What the master keeps: the database and the files. Knows nothing of HTTP."""
