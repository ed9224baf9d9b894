"""What runs on every worker: the agent that runs FFmpeg and measures it, and its exporters."""
