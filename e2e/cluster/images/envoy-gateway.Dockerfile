# On a base with /tmp: beside Envoy it is also the shutdown manager, which writes a file there.
ARG BASE
FROM ${BASE}
COPY envoy-gateway /usr/local/bin/envoy-gateway
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/envoy-gateway"]
