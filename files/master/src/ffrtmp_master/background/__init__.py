"""Background loops of the master, and feeds for subscribers."""
