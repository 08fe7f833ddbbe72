"""What an artifact is: its verdict and lineage, and whether it still is what its report and signature say.

It never parses a model: files are hashed, and reports are read.
"""
