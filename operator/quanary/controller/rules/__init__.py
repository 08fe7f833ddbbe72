"""Rules of the lifecycle, each a small pure function: an observation in, a decision or no opinion out."""
