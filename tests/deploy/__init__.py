"""What is deployed, and with which settings."""
