"""The fault switch of the test image: `quanary` as it is, but an INT8 server can be told to go bad."""
