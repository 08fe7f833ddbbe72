"""A pod's front: answers inference requests, counts what the gates watch, compares its answers with its twin's."""
