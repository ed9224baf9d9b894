"""Energy counters of the kernel (powercap): their selection, accumulation and the reader."""
