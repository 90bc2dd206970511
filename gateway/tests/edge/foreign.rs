//! Descriptors that somebody else wrote, with parts that cannot be served: each is named in one warning, and the rest is served.

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic_reflection::server::Builder;
use world::{Api, PATIENCE, Process, Program, eventually};

use crate::upstream::{Upstream, echo};

const LEFT_OUT: &str = "parts of the descriptors cannot be served and are left out";

/// A set of files, each as it is encoded: options of others stay.
#[derive(Clone, PartialEq, prost::Message)]
struct Set {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    files: Vec<Bytes>,
}

/// Compiles contracts with all that they import, by the names of the files.
pub(crate) fn compiled(contracts: &[(&str, String)]) -> BTreeMap<String, Bytes> {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = format!("{}/../proto", env!("CARGO_MANIFEST_DIR"));
    for (name, text) in contracts {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    let mut compiler = protox::Compiler::new([folder.path(), ours.as_ref()]).expect("the folders are there");
    compiler.include_imports(true);
    compiler.open_files(contracts.iter().map(|(name, _)| *name)).expect("valid contracts");
    let set = Set::decode(compiler.encode_file_descriptor_set().as_slice()).expect("a set");
    let name = |file: &Bytes| FileDescriptorProto::decode(file.clone()).expect("a file").name().to_owned();
    set.files.into_iter().map(|file| (name(&file), file)).collect()
}

pub(crate) fn contract(package: &str, imports: &str, rest: &str) -> String {
    format!(
        "syntax = \"proto3\"; package {package}; import \"google/api/annotations.proto\"; {imports}
         message M {{ string a = 1; repeated string many = 2; M inner = 3; }} {rest}"
    )
}

pub(crate) fn rpc(name: &str, rule: &str) -> String {
    format!("rpc {name}(M) returns (M) {{ option (google.api.http) = {{{rule}}}; }}")
}

pub(crate) fn encoded(files: impl IntoIterator<Item = Bytes>) -> Bytes {
    Set { files: files.into_iter().collect() }.encode_to_vec().into()
}

/// The binary `gateway` with these flags, and the folder that holds what they name.
struct Edge {
    process: Process,
    api: Api,
    _folder: TempDir,
}

impl Edge {
    /// One that reads the descriptors from a file.
    async fn of(set: Bytes, upstream: &Upstream) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("set.binpb");
        std::fs::write(&file, set).expect("a file");
        let file = file.display().to_string();
        Self::start(&["--descriptor-set", &file, "--upstream", &upstream.url()], folder).await
    }

    async fn start(flags: &[&str], folder: TempDir) -> Self {
        let program = Program::at(Path::new(env!("CARGO_BIN_EXE_gateway")));
        let listeners = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let mut process =
            program.args(listeners).args(flags.iter().copied()).start().expect("the edge starts");
        let address = process.address("http").await.expect("it serves");
        Self { process, api: Api::new(format!("http://{address}")).expect("a client"), _folder: folder }
    }

    async fn answers(&self, path: &str, text: &str) {
        let answer = self.api.get(path).await.expect("an answer");
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (200, text),
            "{path}\n{}",
            self.process.output()
        );
    }

    /// The one warning about what is left out.
    async fn warning(&self) -> String {
        self.one_line(LEFT_OUT).await
    }

    /// The one line of the log with this text.
    async fn one_line(&self, text: &str) -> String {
        eventually("the warning", PATIENCE, async || {
            let output = self.process.output();
            if output.contains(text) { Ok(()) } else { Err(output) }
        })
        .await
        .expect("it is logged");
        let output = self.process.output();
        let warnings: Vec<&str> = output.lines().filter(|line| line.contains(text)).collect();
        assert_eq!(warnings.len(), 1, "{output}");
        warnings[0].to_owned()
    }
}

#[tokio::test]
async fn bad_routes_are_named_and_the_others_are_served() {
    let service = [
        rpc("Good", "get: \"/good/{a}\""),
        rpc("Root", "get: \"/\""),
        rpc("Nope", "get: \"/a/{nope}\""),
        rpc("Many", "get: \"/b/{many}\""),
        rpc("Template", "get: \"/f/**/g\""),
        rpc("Twice", "get: \"/good/{inner.a}\""),
        rpc("Bare", "body: \"*\""),
        rpc("Half", "get: \"/half\" additional_bindings { get: \"half\" }"),
    ];
    let service = format!("service S {{ {} }}", service.concat());
    let files = compiled(&[("bad.proto", contract("bad.v1", "", &service))]);
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let edge = Edge::of(encoded(files.into_values()), &upstream).await;
    edge.answers("/good/x", r#"{"a":"x"}"#).await;
    edge.answers("/?a=root", r#"{"a":"root"}"#).await;
    edge.answers("/half?a=y", r#"{"a":"y"}"#).await;
    let warning = edge.warning().await;
    for part in ["Nope", "Many", "Template", "Twice", "Bare", "Half"] {
        assert!(warning.contains(&format!("bad.v1.S.{part}: ")), "{part} in {warning}");
    }
    assert!(!warning.contains("S.Good: ") && !warning.contains("S.Root"), "{warning}");
    // What is left out is in no document.
    let document = edge.api.get("/openapi.json").await.expect("an answer").body;
    let paths: Vec<&String> = document["paths"].as_object().expect("paths").keys().collect();
    assert_eq!(paths, ["/good/{a}", "/", "/half"]);
}

#[tokio::test]
async fn documents_in_whose_place_a_route_answers_are_named() {
    let rules = [
        rpc("Api", "get: \"/openapi.json\""),
        rpc("Swagger", "post: \"/swagger/{a}\" body: \"*\""),
        rpc("Root", "get: \"/\""),
    ];
    let service = format!("service S {{ {} }}", rules.concat());
    let files = compiled(&[("s.proto", contract("s.v1", "", &service))]);
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let edge = Edge::of(encoded(files.into_values()), &upstream).await;
    let warning = edge.one_line("at paths of the edge's own documents").await;
    assert!(warning.contains("/openapi.json; /swagger/index.html"), "{warning}");
    assert!(!warning.contains("/errors/") && !warning.contains("/openapi/s.json"), "{warning}");
    edge.answers("/openapi.json?a=x", r#"{"a":"x"}"#).await;
    let other = edge.api.get("/openapi/s.json").await.expect("an answer");
    assert!(other.body["paths"]["/openapi.json"].is_object(), "{}", other.text);
}

#[tokio::test]
async fn files_that_do_not_fit_together_close_no_others() {
    let uses = "message N { elsewhere.v1.M theirs = 1; } service T { rpc Lost(elsewhere.v1.M) returns (M) {
        option (google.api.http) = {get: \"/lost\"}; } rpc Own(M) returns (M) { option (google.api.http) = {get: \"/own\"}; } }";
    let methods =
        "service T { rpc Lost(elsewhere.v1.M) returns (M) { option (google.api.http) = {get: \"/lost\"}; }
        rpc Own(M) returns (M) { option (google.api.http) = {get: \"/own\"}; } }";
    let mut files = compiled(&[
        ("elsewhere.proto", contract("elsewhere.v1", "", "")),
        (
            "good.proto",
            contract("good.v1", "", &format!("service S {{ {} }}", rpc("Good", "get: \"/good\""))),
        ),
        (
            "fields.proto",
            contract("fields.v1", "import \"elsewhere.proto\";", &uses.replace("/own", "/never")),
        ),
        ("methods.proto", contract("methods.v1", "import \"elsewhere.proto\";", methods)),
    ]);
    files.remove("elsewhere.proto").expect("it was compiled");
    let unreadable = Bytes::from_static(b"\x0a\x06x.proto\x22\xff\x01");
    let future = FileDescriptorProto {
        name: Some("f.proto".into()),
        syntax: Some("editions".into()),
        ..Default::default()
    };
    let others = [unreadable, future.encode_to_vec().into()];
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let edge = Edge::of(encoded(files.into_values().chain(others)), &upstream).await;
    edge.answers("/good?a=x", r#"{"a":"x"}"#).await;
    edge.answers("/own?a=x", r#"{"a":"x"}"#).await;
    let warning = edge.warning().await;
    for part in
        ["fields.proto: ", "methods.v1.T.Lost: elsewhere.v1.M", "f.proto: ", "a file that cannot be read: "]
    {
        assert!(warning.contains(part), "{part} in {warning}");
    }
}

#[tokio::test]
async fn what_reflection_cannot_describe_is_done_without() {
    let service = format!("service S {{ {} }}", rpc("Good", "get: \"/good\""));
    let mut files = compiled(&[("good.proto", contract("good.v1", "", &service))]);
    // They are imported for options alone.
    for name in ["google/api/annotations.proto", "google/api/http.proto", "google/protobuf/descriptor.proto"]
    {
        files.remove(name).expect("it is imported");
    }
    let set = encoded(files.into_values());
    let reflection = Builder::configure()
        .register_encoded_file_descriptor_set(&set)
        .with_service_name("ghost.v1.Ghost")
        .with_service_name("good.v1.S")
        .with_service_name("later.v1.Later");
    let reflection = Routes::new(reflection.build_v1().expect("descriptors"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let upstream = Upstream::beside(reflection, listener, async |call| echo(&call));
    let edge = Edge::start(&["--upstream", &upstream.url()], tempfile::tempdir().expect("a folder")).await;
    edge.answers("/good?a=x", r#"{"a":"x"}"#).await;
    let warning = edge.warning().await;
    assert!(warning.contains("ghost.v1.Ghost: ") && warning.contains("later.v1.Later: "), "{warning}");
}
