"""Steps that several job kinds share."""
