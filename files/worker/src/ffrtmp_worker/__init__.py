"""Software of a worker: exporters, host services, and the agent, which runs and measures FFmpeg."""
