"""What is measured beside the encode itself: its output, its quality, the host around it."""
