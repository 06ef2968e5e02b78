FROM golang:1.26-bookworm AS build
WORKDIR /src
# A layer of their own: the modules change less often than the code, and most builds then need no download.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Without cgo the binary needs no C library, so the image below can do without one. /data is made here because the
# image below has no shell to make it with.
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /lb . && mkdir /data

# Root certificates, time zones and a user, no shell. The certificates are for PostgreSQL over TLS.
FROM gcr.io/distroless/static:nonroot
COPY --from=build /lb /lb
COPY config.yaml /etc/lb/config.yaml
# The embedded store writes clients.db into the working directory. Mount a volume there to keep it.
COPY --from=build --chown=65532:65532 /data /data
WORKDIR /data
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
# Probes and scrapers cannot reach a container's loopback. The API still asks everyone else for the token.
ENV LB_MANAGEMENT=0.0.0.0:8081
EXPOSE 8080 8081
ENTRYPOINT ["/lb"]
CMD ["--path=/etc/lb/config.yaml"]
