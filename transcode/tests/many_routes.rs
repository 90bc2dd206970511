//! Descriptors with many routes, or of many files: routes and documents are made in a time in proportion to their number.

use std::hint::black_box;

use bytes::Bytes;
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use transcode::{
    Routes,
    openapi::{About, Habits, Ids, Listed, Tokens, document},
};

use world::assert_in_proportion;

const FEW: usize = 150;
const MANY: usize = 10 * FEW;

/// Ten times as many take ten times as long, or somewhat more. What is gone through for each of them takes a hundred times as long.
const MOST: u32 = 20;

/// A service of so many methods, each with messages of its own.
fn service(count: usize) -> Bytes {
    let part = |number: usize| {
        format!(
            "message In{number} {{ string name = 1; Shared shared = 2; }}
             message Out{number} {{ string name = 1; repeated Inner{number} inner = 2; }}
             message Inner{number} {{ string name = 1; }}
             service S{number} {{ rpc Do(In{number}) returns (Out{number}) {{
                 option (google.api.http) = {{post: \"/things{number}/{{name}}\" body: \"*\"}}; }} }}\n"
        )
    };
    let parts: String = (0..count).map(part).collect();
    let text = format!(
        "syntax = \"proto3\"; package many.v1; import \"google/api/annotations.proto\";
         message Shared {{ string name = 1; }}\n{parts}"
    );
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("many.proto"), text).expect("a file");
    let contracts = format!("{}/../proto", env!("CARGO_MANIFEST_DIR"));
    let mut compiler =
        protox::Compiler::new([folder.path(), contracts.as_ref()]).expect("the folders are there");
    compiler.include_imports(true).open_file("many.proto").expect("a valid contract");
    compiler.encode_file_descriptor_set().into()
}

/// So many files, each of which imports the one before; the last one comes first.
fn files(count: usize) -> Bytes {
    let file = |number: usize| FileDescriptorProto {
        name: Some(format!("{number}.proto")),
        package: Some(format!("files.p{number}")),
        dependency: number.checked_sub(1).map(|before| format!("{before}.proto")).into_iter().collect(),
        message_type: vec![DescriptorProto { name: Some("M".to_owned()), ..DescriptorProto::default() }],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: (0..count).rev().map(file).collect() }.encode_to_vec().into()
}

fn of_foreign(set: &Bytes) -> Routes {
    let (routes, left_out) = Routes::of_foreign(set, set, &|_| true).expect("a set");
    assert_eq!(left_out, [] as [String; 0]);
    routes
}

fn documented(routes: &Routes) -> String {
    let listed = routes.list().iter().map(|route| Listed {
        route,
        authority: "localhost:1",
        scope: None,
        owner: None,
        failures: &[],
    });
    let listed: Vec<Listed<'_>> = listed.collect();
    let about = About {
        title: "many",
        description: "",
        license: None,
        contact: None,
        tokens: Tokens::None,
        token: "",
        habits: Habits { times: true, tags: true, replays: true, errors: true },
    };
    document(&about, &listed, &Ids::of(&listed)).to_string()
}

fn assert_made_in_proportion(what: &str, few: &Bytes, many: &Bytes) {
    let make = |set: &Bytes| drop(black_box(of_foreign(set)));
    assert_in_proportion(what, MOST, || make(few), || make(many));
}

#[test]
fn routes_and_documents_are_made_in_proportion_to_the_routes() {
    let [few, many] = [FEW, MANY].map(service);
    assert_made_in_proportion("routes", &few, &many);
    let [few, many] = [few, many].map(|set| of_foreign(&set));
    assert_eq!(many.list().len(), MANY);
    let describe = |routes: &Routes| drop(black_box(documented(routes)));
    assert_in_proportion("documents", MOST, || describe(&few), || describe(&many));
}

#[test]
fn a_chain_of_files_is_read_in_proportion_to_their_number() {
    let [few, many] = [FEW, MANY].map(files);
    assert_made_in_proportion("files", &few, &many);
}
