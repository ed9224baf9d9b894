"""The commands of ffrtmp, one module each."""
