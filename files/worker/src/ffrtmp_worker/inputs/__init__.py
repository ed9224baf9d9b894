"""Inputs of a job: sources and the FFmpeg build under test."""
