"""Interface to FFmpeg: argument lists, processes, progress reports and output files."""
