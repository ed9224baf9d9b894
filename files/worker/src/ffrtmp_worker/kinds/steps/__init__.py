"""Steps that several scenario kinds share."""
