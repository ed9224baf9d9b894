"""Comparison of results: sides, texts and files. The calculation is in ffrtmp_analysis."""
