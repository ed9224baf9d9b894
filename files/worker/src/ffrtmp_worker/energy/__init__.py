"""Selection, reading and accumulation of the kernel's energy counters (powercap)."""
