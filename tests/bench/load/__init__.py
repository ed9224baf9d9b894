"""What runs in a process of its own and puts load on a master."""
