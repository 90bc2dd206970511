# One image with all four binaries; docker-compose.yml chooses. Alone it runs everything in one process.
FROM rust:1.95.0-bookworm AS build
# The image's own toolchain: rust-toolchain.toml names the same one, with components that a build does not need.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
# What the build is called, such as a commit: `build_info` and `ordermesh admin status` say it.
ARG BUILD=unnamed
ENV ORDERMESH_BUILD=$BUILD
# The caches stay outside the image, so what is built has to be copied out in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --workspace --bins \
    && install -D -t /out target/dist/ordermesh target/dist/orders target/dist/payments target/dist/gateway

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/ordermesh --create-home ordermesh
COPY --from=build /out/ /usr/local/bin/
# For whatever collects the output of containers; `human` is for people.
ENV LOG_FORMAT=json
USER 10001
# The embedded databases lie in ./data: mount a volume there to keep them.
WORKDIR /var/lib/ordermesh
CMD ["/usr/local/bin/ordermesh"]
