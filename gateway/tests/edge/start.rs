//! The start of an edge with many routes: it takes time in proportion to their number, and the operator sees the process meanwhile.

use std::path::Path;

use bytes::Bytes;
use gateway::{Config, Edge};
use world::{Api, PATIENCE, Process, Program, assert_in_proportion, eventually};

use crate::{
    foreign::{compiled, contract, encoded},
    upstream::{Upstream, echo},
    world::shapes,
};

/// Ten times as many routes take ten times as long, or somewhat more. What is gone through for each of them takes a hundred times as long.
const MOST: u32 = 25;

/// A service of so many methods, each with messages of its own.
fn many(count: usize) -> Bytes {
    let method = |number: usize| {
        format!(
            "rpc Do{number}(In{number}) returns (Out{number})
             {{ option (google.api.http) = {{post: \"/things{number}/{{name}}\" body: \"*\"}}; }}\n"
        )
    };
    let messages = |number: usize| {
        format!(
            "message In{number} {{ string name = 1; M inner = 2; }}
             message Out{number} {{ string name = 1; repeated In{number} ins = 2; }}\n"
        )
    };
    let (methods, messages): (String, String) =
        ((0..count).map(method).collect(), (0..count).map(messages).collect());
    let text = contract("many.v1", "", &format!("{messages} service S {{ {methods} }}"));
    encoded(compiled(&[("many.proto", text)]).into_values())
}

#[tokio::test]
async fn routes_are_made_in_proportion_to_their_number() {
    let make = |set: &Bytes| {
        let config =
            Config { descriptor_set: set.clone(), foreign: Some(Vec::new()), ..shapes("http://127.0.0.1:1") };
        drop(Edge::from_config(config).expect("no errors"));
    };
    let (few, many) = (many(80), many(800));
    assert_in_proportion("an edge", MOST, || make(&few), || make(&many));
}

/// The binary, in front of this many routes; its operator's listener.
async fn starting(count: usize, upstream: &str, folder: &Path) -> (Process, Api) {
    let file = folder.join("set.binpb");
    std::fs::write(&file, many(count)).expect("a file");
    let program = Program::at(Path::new(env!("CARGO_BIN_EXE_gateway")));
    let flags = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", upstream];
    let flags = program.args(flags).args(["--descriptor-set", file.to_str().expect("UTF-8")]);
    let mut process = flags.start().expect("the edge starts");
    let address = process.address("admin").await.expect("it listens");
    (process, Api::new(format!("http://{address}")).expect("a client"))
}

#[tokio::test]
async fn the_operator_sees_what_is_read_and_that_the_process_lives() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let folder = tempfile::tempdir().expect("a folder");
    // On a machine that has read them before it was asked, there are not enough of them.
    for count in [1_000, 4_000, 16_000] {
        let (mut process, operator) = starting(count, &upstream.url(), folder.path()).await;
        let live = operator.get("/livez").await.expect("an answer");
        let ready = operator.get("/readyz").await.expect("an answer");
        let is_late = process.output().contains("http=");
        let address = process.address("http").await.expect("it serves");
        if is_late {
            continue;
        }
        assert_eq!(live.status.as_u16(), 200, "{}", live.text);
        assert_eq!(ready.status.as_u16(), 503, "{}", ready.text);
        let reason = format!("the descriptors of {} are being read", upstream.url());
        assert!(ready.text.contains(&reason), "{}", ready.text);
        let ready = async || {
            let ready = operator.get("/readyz").await.map_err(|error| error.to_string())?;
            if ready.status.as_u16() == 200 { Ok(()) } else { Err(ready.text) }
        };
        eventually("readiness", PATIENCE, ready).await.expect("it is ready");
        let api = Api::new(format!("http://{address}")).expect("a client");
        let answer = api.post("/things7/x", &serde_json::json!({})).await.expect("an answer");
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, r#"{"name":"x"}"#));
        return;
    }
    panic!("the operator's listener was there only when the edge served already");
}
