# The proxy's image: docker build -t minimix-proxy .
# PROFILE=lab builds faster, and leaves out optimisation across crates.

FROM rust:1-slim-bookworm AS build
ARG PROFILE=release
WORKDIR /src
RUN command -v cc >/dev/null || (apt-get update -q && apt-get install -y -q --no-install-recommends gcc libc6-dev)
# The dependencies first, so that a change of the proxy's own code does not build them again.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches && touch src/lib.rs && echo 'fn main() {}' >src/main.rs \
    && for bench in $(sed -n '/^\[\[bench\]\]/,/^$/s/^name = "\(.*\)"/\1/p' Cargo.toml); do \
        echo 'fn main() {}' >"benches/$bench.rs"; done \
    && cargo build --profile "$PROFILE" --locked \
    && rm -rf src
COPY src src
RUN touch src/lib.rs src/main.rs && cargo build --profile "$PROFILE" --locked --bin minimix-proxy \
    && install -D "target/$PROFILE/minimix-proxy" /out/minimix-proxy

FROM debian:bookworm-slim
RUN groupadd -g 10222 minimix && useradd -u 10222 -g minimix -d /data minimix \
    && install -d -m 0700 -o minimix -g minimix /data /keys \
    && install -d -o minimix -g minimix /certs
# The store's key is kept apart from the store: give each a volume of its own.
ENV MINIMIX_KEY_FILE=/keys/store.key
COPY --from=build /out/minimix-proxy /usr/local/bin/
USER 10222
EXPOSE 5222 5223
HEALTHCHECK --interval=2s --timeout=3s --retries=30 CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/5222"]
ENTRYPOINT ["minimix-proxy"]
