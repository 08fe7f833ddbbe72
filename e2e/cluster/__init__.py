"""A real one-node Kubernetes built from packages alone, and the two server programs of it for API tests.

lifecycle says in which order; control_plane and node say what runs on the machine, addons what runs in the cluster;
build and images make the binaries and images; processes, network and sweep make sure that nothing is left behind.
"""
