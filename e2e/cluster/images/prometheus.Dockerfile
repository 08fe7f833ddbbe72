FROM scratch
COPY prometheus /prometheus
USER 65532:65532
ENTRYPOINT ["/prometheus"]
