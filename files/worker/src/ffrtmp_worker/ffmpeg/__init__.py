"""FFmpeg as a program: its argument lists, its process, what it prints and what it wrote."""
