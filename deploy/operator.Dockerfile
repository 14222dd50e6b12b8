# The operator's image. `deploy/images context FOLDER` makes the folder to build it in:
#   docker build -f deploy/operator.Dockerfile -t stagegate-operator FOLDER
FROM scratch
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY stagegate-operator /stagegate-operator
USER 65532:65532
ENTRYPOINT ["/stagegate-operator"]
