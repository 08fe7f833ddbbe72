"""The operator: observe, decide, build, apply, record. Decides and applies; parses no model, reads no Secret."""
