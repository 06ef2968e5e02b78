FROM golang:1.26-bookworm AS build
WORKDIR /src
# A layer of their own: the modules change less often than the code, and most builds then need no download.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# What lb version prints: the build context has no .git to read it from. For instance:
#   docker build --build-arg VERSION=v1.2.3 --build-arg COMMIT=$(git rev-parse HEAD) \
#     --build-arg DATE=$(date -u +%FT%TZ) .
ARG VERSION= COMMIT= DATE=
# Without cgo the binary needs no C library, so the image below can do without one. /data is made here because the
# image below has no shell to make it with.
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT -X main.date=$DATE" -o /lb . && mkdir -m 0770 /data

# Root certificates, time zones and a user, no shell. The certificates are for backends, PostgreSQL and
# authorities of ACME over TLS.
FROM gcr.io/distroless/static:nonroot
COPY --from=build /lb /lb
COPY config.yaml /etc/lb/config.yaml
# The file store writes clients.db, what outlives a restart goes to lb.state, the last state of
# PostgreSQL to clients.snapshot, and the counts of the clients' requests to a file beside the
# clients, certificates by ACME to the folder acme, all in the working directory, and nothing is
# written elsewhere, so the root may be read-only. Any user of group 0 may write here. Mount a
# volume to keep them.
COPY --from=build --chown=65532:0 --chmod=0770 /data /data
VOLUME /data
WORKDIR /data
# By number, so that Kubernetes can tell that it is not root. Group 0, as for any other user that a
# platform chooses.
USER 65532:0
# Probes and scrapers cannot reach a container's loopback. The API still asks everyone else for the token.
ENV LB_MANAGEMENT=0.0.0.0:8081
EXPOSE 8080 8081
HEALTHCHECK --interval=5s --timeout=4s --start-period=40s CMD ["/lb", "healthcheck", "--path=/etc/lb/config.yaml", "--timeout=3s"]
ENTRYPOINT ["/lb"]
CMD ["--path=/etc/lb/config.yaml"]
