# The commands of this repository: `just` lists them.

[private]
default:
    @just --list

# everything in one process, with embedded defaults
run *arguments:
    cargo run -- {{arguments}}

# all checks and tests; arguments go to the test runner
test *arguments:
    scripts/test {{arguments}}

# clippy as in CI
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# format all sources
fmt:
    cargo fmt --all

# all crates and binaries
build:
    cargo build --workspace --locked

# CPU per request of the gateway, beside Envoy's transcoder
bench-edge:
    scripts/bench-edge

# the official protobuf conformance suite against the ProtoJSON of the edge
conformance:
    scripts/conformance

# install what the tests need
setup:
    scripts/setup
