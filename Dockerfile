# syntax=docker/dockerfile:1
# Weir: one static binary, and nothing else in the image.
#
#   docker build -t weir .          (or: make image)
#   docker run --rm weir version
#
# The build stage needs the Go module proxy; the final image has no shell, no
# package manager and no user database: it runs as a numeric, unprivileged id.

FROM golang:1.26-bookworm AS build
WORKDIR /src
# Modules first, so that a change of the code does not fetch them again.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
# timetzdata: time zones without a zoneinfo directory. trimpath: no paths of
# the build machine, and the same bytes from the same source.
RUN CGO_ENABLED=0 go build -trimpath -tags timetzdata \
      -ldflags "-s -w -X github.com/weir-flow/weir/internal/telemetry.version=${VERSION}" \
      -o /out/weir ./cmd/weir \
 && mkdir -p /out/root/tmp /out/root/etc/ssl/certs /out/root/var/lib/weir \
 && cp /etc/ssl/certs/ca-certificates.crt /out/root/etc/ssl/certs/ \
 && chmod 1777 /out/root/tmp \
 && chown -R 65532:65532 /out/root/var/lib/weir

FROM scratch
COPY --from=build /out/root /
COPY --from=build /out/weir /weir
USER 65532:65532
# Spool and boot number of a collector: give it a volume that stays.
VOLUME /var/lib/weir
# NetFlow and IPFIX (UDP), and /metrics, /livez, /readyz.
EXPOSE 2055/udp 4739/udp 9600/tcp
ENTRYPOINT ["/weir"]
CMD ["--help"]
