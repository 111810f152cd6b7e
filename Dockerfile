# syntax=docker/dockerfile:1
#
#   docker build -t jotgate .
#
# Two stages: Rust and a C compiler in the first, the program and next to nothing else in the second.
# The configuration, keys and certificates are mounted at /etc/jotgate, readable for user 65532.
# jotgate writes no file, so the root may be read-only, and it needs no capability.
# deploy/compose.yaml has all of this together.

# Pinned to a minor version, which is that of rust-version in Cargo.toml. For a release, pin it by
# digest as well.
FROM rust:1.95-bookworm AS build
WORKDIR /src

# AWS-LC is compiled from the source that its crate brings, which takes a C compiler and neither
# cmake nor bindgen; the image has one. 0: never link one that happens to be installed instead.
ENV AWS_LC_SYS_USE_SYSTEM=0

# seen.profdata is what `deploy/pgo --profile` saw the program doing under load. If it lies here, the
# program is built for that, and takes a fifth fewer instructions for a request.
COPY Cargo.toml Cargo.lock seen.profdata* ./
COPY src src
COPY deploy/guided deploy/third-party deploy/image-root deploy/

# What is downloaded and compiled stays in the builder's cache, and out of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    target="$(rustc --print host-tuple)" \
    && if [ -e seen.profdata ]; then set -- deploy/guided seen.profdata; fi \
    && "$@" cargo build --release --locked --target "$target" --bin jotgate \
    && install -D -m 0755 "target/$target/release/jotgate" /out/usr/bin/jotgate \
    && deploy/image-root /out \
    && install -d /out/usr/share/doc/jotgate \
    && deploy/third-party > /out/usr/share/doc/jotgate/third-party.txt

COPY LICENSE-MIT LICENSE-APACHE README.md CHANGELOG.md /out/usr/share/doc/jotgate/

# Nothing but what was laid out above: the program, the three libraries that it is linked with (two
# of glibc, one of GCC), the certificate authorities that upstreams over TLS are checked with, and a
# user; no shell, no package manager. Why no static program: that would be another libc than the one
# all tests run on, with another resolver and a slower allocator.
FROM scratch

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="jotgate" \
      org.opencontainers.image.description="A gateway that terminates TLS, verifies JWTs in front of any upstream and forwards who the caller is" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /out/ /

# glibc keeps 7 freed pieces of memory of a size at hand for a thread's next ones; this is about 2 %
# of the CPU time.
ENV GLIBC_TUNABLES=glibc.malloc.tcache_count=128

# Its `nonroot`, as numbers: what forbids root wants to see that it is not 0.
USER 65532:65532

# https and http of config/examples/container.toml: above 1024, so that no capability is needed.
# `admin` is on 127.0.0.1:9901 there, which is where the health check asks.
EXPOSE 8443 8080

# The drain. Give it longer than `drain` before the kill: docker stop --time 40.
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/bin/jotgate", "health", "--address", "127.0.0.1:9901"]

ENTRYPOINT ["/usr/bin/jotgate"]
CMD ["run", "--config", "/etc/jotgate/jotgate.toml"]
