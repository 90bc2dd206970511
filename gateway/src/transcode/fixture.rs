//! Routes of the test contract `tests/proto/shapes.proto`, for unit tests.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

use super::{
    route::{Entry, Lookup, Trie},
    table::{self, Route},
};

/// Compiled once: properties ask for it again and again.
static ROUTES: LazyLock<Vec<Route>> =
    LazyLock::new(|| table::compile(&pool("shapes.proto")).expect("valid routes"));

/// The message of `tests/proto/every.proto`, with every kind of field.
pub(crate) static EVERY: LazyLock<MessageDescriptor> =
    LazyLock::new(|| pool("every.proto").get_message_by_name("every.v1.Every").expect("it is there"));

/// A contract, compiled.
fn pool(file: &str) -> DescriptorPool {
    let folders =
        ["tests/proto", "../proto"].map(|folder| format!("{}/{folder}", env!("CARGO_MANIFEST_DIR")));
    let mut compiler = protox::Compiler::new(folders).expect("the folders are there");
    compiler.include_imports(true).open_file(file).expect("a valid contract");
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).expect("a complete set")
}

/// The route of a method and a path, and the values of its variables.
pub(crate) fn route(method: &str, path: &str) -> (Route, Vec<Result<String, super::PercentError>>) {
    let entry = |route: &Route| Entry {
        method: route.method.clone(),
        template: route.template.clone(),
        rpc: route.rpc.name.clone(),
    };
    let trie = Trie::build(&ROUTES.iter().map(entry).collect::<Vec<_>>()).expect("no two are alike");
    match trie.find(method, path) {
        Lookup::Found(index, captures) => (ROUTES[index].clone(), captures),
        other => panic!("{method} {path}: {other:?}"),
    }
}
