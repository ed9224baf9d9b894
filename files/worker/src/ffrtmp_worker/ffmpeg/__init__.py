"""The program FFmpeg: its argument lists, its processes, its reports and its output files."""
