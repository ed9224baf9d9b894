"""The command `ffrtmp bisect`: builds, measurements on this computer, and their directory."""
