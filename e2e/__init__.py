"""What needs a whole cluster: the cluster itself and the scenarios that run on it."""
