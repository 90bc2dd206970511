//! Routes of the test contract `tests/proto/shapes.proto`, for unit tests.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

use crate::routes::{Routes, percent::PercentError, route::Route, trie::Lookup};

/// Compiled once: properties ask for it again and again.
static ROUTES: LazyLock<Routes> =
    LazyLock::new(|| Routes::compile(set("shapes.proto")).expect("valid routes"));

/// The message of `tests/proto/every.proto`, with every kind of field.
pub(crate) static EVERY: LazyLock<MessageDescriptor> =
    LazyLock::new(|| message("every.proto", "every.v1.Every"));

/// The contract of that message.
pub(crate) fn every_set() -> Vec<u8> {
    set("every.proto")
}

/// The contract of the routes, with what it imports of Google.
pub(crate) fn shapes_set() -> Vec<u8> {
    set("shapes.proto")
}

/// A message of a contract.
pub(crate) fn message(file: &str, name: &str) -> MessageDescriptor {
    let pool = DescriptorPool::decode(set(file).as_slice()).expect("a complete set");
    pool.get_message_by_name(name).expect("it is there")
}

/// A contract, compiled.
fn set(file: &str) -> Vec<u8> {
    let folders =
        ["tests/proto", "../proto"].map(|folder| format!("{}/{folder}", env!("CARGO_MANIFEST_DIR")));
    let mut compiler = protox::Compiler::new(folders).expect("the folders are there");
    compiler.include_imports(true).open_file(file).expect("a valid contract");
    compiler.encode_file_descriptor_set()
}

/// The route of a method and a path, and the values of its variables.
pub(crate) fn route(method: &str, path: &str) -> (Route, Vec<Result<String, PercentError>>) {
    match ROUTES.find(method, path) {
        Lookup::Found(index, captures) => (Route::clone(&ROUTES.list()[index]), captures),
        other => panic!("{method} {path}: {other:?}"),
    }
}
