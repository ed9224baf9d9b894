"""The master of an FFmpeg benchmark farm: job queue, node registry, results."""
