"""The resource: what a user writes and what the status says back. Pure."""
