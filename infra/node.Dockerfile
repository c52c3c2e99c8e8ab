# syntax=docker/dockerfile:1
# The node's image: one program, without a shell or a package manager, and not run as root.
#
#   docker build -f infra/node.Dockerfile --platform linux/arm64 -t inkwire-node .
#
# The base images are pinned by version. For a reproducible build, pass digests:
#   --build-arg RUST_IMAGE=rust@sha256:… --build-arg RUN_IMAGE=gcr.io/distroless/cc-debian12@sha256:…
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG RUN_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
WORKDIR /src
# Any copied file that changes causes a rebuild, so infra/node.Dockerfile.dockerignore copies few.
COPY . .
# The revision that `--version` and `inkwire_build_info` show beside the version.
ARG INKWIRE_REVISION=
ENV INKWIRE_REVISION=$INKWIRE_REVISION
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile node -p inkwire-node --bin inkwire-node \
    && cp target/node/inkwire-node /inkwire-node

FROM ${RUN_IMAGE}
COPY --from=build --chown=0:0 --chmod=0555 /inkwire-node /inkwire-node
# Distroless's `nonroot`, as a number, so that an orchestrator can check that it is not root.
USER 65532:65532
EXPOSE 8443
# SIGTERM makes the node drain.
STOPSIGNAL SIGTERM
# There is no shell, so the program checks itself. ECS has its own copy of this (lib/fleet.mjs).
HEALTHCHECK --start-period=5m --interval=10s --timeout=5s --retries=6 CMD ["/inkwire-node", "--health"]
ENTRYPOINT ["/inkwire-node"]
