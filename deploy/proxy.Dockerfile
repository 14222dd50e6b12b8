# The proxy's image, for gateways and sidecars. `deploy/images context FOLDER` makes the folder to build it in:
#   docker build -f deploy/proxy.Dockerfile -t stagegate-proxy FOLDER
FROM scratch
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY stagegate-proxy /stagegate-proxy
USER 65532:65532
ENTRYPOINT ["/stagegate-proxy"]
