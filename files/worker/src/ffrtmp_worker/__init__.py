"""Software of a worker: the agent, which runs and measures FFmpeg, exporters and host services."""
