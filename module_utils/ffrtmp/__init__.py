"""What the modules that talk to the master have in common; needs Python's library alone."""
