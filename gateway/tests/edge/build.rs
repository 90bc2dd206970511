//! Errors that stop the start, all of them at once.

use std::collections::BTreeMap;

use bytes::Bytes;
use clap::Parser as _;
use gateway::{Config, Edge, Settings, Upstreams};

use crate::world::shapes;

#[derive(Debug, clap::Parser)]
struct Arguments {
    #[command(flatten)]
    edge: Settings,
}

fn compile(service: &str) -> Bytes {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "syntax = \"proto3\"; package bad.v1; import \"google/api/annotations.proto\";
         message M {{ string a = 1; repeated string many = 2; M inner = 3; }}
         service S {{ {service} }}"
    );
    std::fs::write(folder.path().join("bad.proto"), text).expect("a file");
    let contracts = format!("{}/../proto", env!("CARGO_MANIFEST_DIR"));
    let mut compiler =
        protox::Compiler::new([folder.path(), contracts.as_ref()]).expect("the folders are there");
    compiler.include_imports(true).open_file("bad.proto").expect("a valid contract");
    compiler.encode_file_descriptor_set().into()
}

fn rpc(name: &str, rule: &str) -> String {
    format!("rpc {name}(M) returns (M) {{ option (google.api.http) = {{{rule}}}; }}")
}

fn errors(config: Config) -> Vec<String> {
    let error = Edge::from_config(config).expect_err("there are errors").to_string();
    error.lines().skip(1).map(|line| line.trim().to_owned()).collect()
}

#[tokio::test]
async fn routes_that_cannot_be_served_are_named() {
    let service = [
        rpc("A", "get: \"/a/{nope}\""),
        rpc("B", "get: \"/b/{many}\""),
        rpc("C", "get: \"/c/{inner}\""),
        rpc("D", "post: \"/d\" body: \"nope\""),
        rpc("E", "get: \"/e\" response_body: \"nope\""),
        rpc("F", "get: \"/f/**/g\""),
        rpc("G", "get: \"/g/{a.b}\""),
        rpc("H", "post: \"/h/{a}\" body: \"a\""),
        rpc("I", "body: \"*\""),
    ];
    let config = Config { descriptor_set: compile(&service.concat()), ..shapes("ftp://x") };
    assert_eq!(
        errors(config),
        [
            "--upstream: \"ftp://x\" is not of the form http://host:port or https://host:port",
            "--descriptor-set: bad.v1.S.A: bad.v1.M has no field nope",
            "--descriptor-set: bad.v1.S.B: field many is repeated: a path cannot bind it",
            "--descriptor-set: bad.v1.S.C: field inner is a message: a path cannot bind it",
            "--descriptor-set: bad.v1.S.D: bad.v1.M has no field nope",
            "--descriptor-set: bad.v1.S.E: bad.v1.M has no field nope",
            "--descriptor-set: bad.v1.S.F: nothing but a verb can follow `**` at byte 6 of \"/f/**/g\"",
            "--descriptor-set: bad.v1.S.G: field a has no fields of its own",
            "--descriptor-set: bad.v1.S.H: field a is bound by the path and by the body",
            "--descriptor-set: bad.v1.S.I: the rule has no method and path",
        ]
    );
}

#[tokio::test]
async fn ambiguous_routes_are_named_with_a_path() {
    let service =
        [rpc("A", "get: \"/x/{a}\""), rpc("B", "get: \"/x/{inner.a=*}\""), rpc("C", "post: \"/x/{a}\"")];
    let config = Config { descriptor_set: compile(&service.concat()), ..shapes("http://[::1]:1") };
    assert_eq!(errors(config), ["--descriptor-set: bad.v1.S.A and bad.v1.S.B both answer GET /x/x"]);
}

#[tokio::test]
async fn a_service_without_a_url_is_named() {
    let config = Config {
        upstreams: Upstreams::Each(BTreeMap::new()),
        descriptor_set: compile(&rpc("A", "get: \"/a\"")),
        ..shapes("http://x")
    };
    assert_eq!(errors(config), ["--upstream: no URL is known for bad.v1.S"]);
    let config = Config { descriptor_set: Bytes::from_static(b"nonsense"), ..shapes("http://x/path") };
    let both = errors(config);
    assert!(both[0].contains("has more than a host and a port"), "{both:?}");
    assert!(both[1].starts_with("--descriptor-set: not a complete set of descriptors"), "{both:?}");
}

#[tokio::test]
async fn mistaken_flags_are_named_together() {
    let arguments = Arguments::parse_from([
        "gateway",
        "--listen=nowhere",
        "--max-body-bytes=many",
        "--request-timeout=0",
        "--max-connections=0",
        "--orders-url=localhost:1",
        "--rate-limit=0",
        "--method-limit=a.v1.A=1,a.v1.A/B=many",
        "--method-streams=a.v1.A/B",
        "--trusted-proxies=10.0.0.0/8,somebody",
        "--upstream-ca=/dev/null",
        "--cors-origin=https://a.example,https://b.example/path",
        "--descriptor-set=/does/not/exist",
        "--upstream=http://x",
    ]);
    let error = Edge::build(arguments.edge).expect_err("there are errors").to_string();
    assert!(error.starts_with("12 errors"), "{error}");
    for flag in [
        "--listen",
        "--max-body-bytes",
        "--request-timeout",
        "--max-connections",
        "--rate-limit",
        "--method-limit",
        "--method-streams",
        "--trusted-proxies",
        "--upstream-ca",
        "--cors-origin",
        "--descriptor-set",
    ] {
        assert!(error.contains(&format!("  {flag}: ")), "{error}");
    }
}

#[tokio::test]
async fn the_defaults_are_valid() {
    let edge = Edge::build(Arguments::parse_from(["gateway"]).edge).expect("no errors");
    assert_eq!(edge.config().listen.to_string(), "127.0.0.1:8080");
}

#[tokio::test]
async fn an_edge_can_be_printed_even_if_messages_hold_themselves() {
    let edge = Edge::from_config(shapes("http://x")).expect("no errors");
    assert!(format!("{edge:?}").contains("GET /v1/shapes -> shapes.v1.Shapes.Query"));
}

#[tokio::test]
async fn a_mistaken_url_is_named_by_its_flag_and_once() {
    let arguments =
        Arguments::parse_from(["gateway", "--orders-url=localhost:1", "--payments-url=https://x/y"]);
    let error = Edge::build(arguments.edge).expect_err("there are errors").to_string();
    let lines: Vec<&str> = error.lines().map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "2 errors in the settings:",
            "--orders-url: \"localhost:1\" is not of the form http://host:port or https://host:port",
            "--payments-url: \"https://x/y\" has more than a host and a port",
        ]
    );
}
