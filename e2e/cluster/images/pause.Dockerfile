# The process that keeps a pod's network alive: anything that sleeps.
ARG BASE
FROM ${BASE}
USER 65532:65532
ENTRYPOINT ["/bin/sleep", "infinity"]
