"""Quanary: governed, observable, reversible INT8 serving on Kubernetes.

Two vocabularies come first: `api` (the resource a user writes) and `wire` (what the programs say to each other).
`artifacts` knows where model files live. Then the programs, which never import one another: `controller` (the
operator: decides and applies), `quantizer` (a Job, or a command on a laptop: one model in, a judged artifact out) and
`server` (a pod's front: answers inference requests, runs the model or asks the server that does, and compares its
answers with its twin's).
"""
