"""The kernel's energy counters (powercap): which of them count, and counting on from them."""
