ARG BASE
FROM ${BASE}
COPY docker-registry /usr/local/bin/docker-registry
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/docker-registry"]
