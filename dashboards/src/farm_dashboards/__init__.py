"""The farm's dashboards, written in Python, and the program that builds their JSON files."""
