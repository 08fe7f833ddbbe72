"""The same protocol over gRPC: `service` answers calls, `question` reads and writes inferences, `port` listens."""
