//! No RPC that nobody tests: each one of the contracts is named in a test of this binary.

use std::{collections::BTreeSet, fs, path::Path};

use prost_reflect::{DescriptorPool, MethodDescriptor};

/// In the contracts, not yet in the services. A name leaves this list with its first test.
const NOT_YET: [&str; 0] = [];

fn methods() -> Vec<MethodDescriptor> {
    let pool =
        DescriptorPool::decode(ordermesh::DESCRIPTOR_SET).expect("the contracts were compiled by our build");
    let ours: Vec<_> =
        pool.services().filter(|service| service.package_name().starts_with("ordermesh.")).collect();
    ours.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// All words of the tests, this file's own excepted.
fn words() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e");
    let mut words = BTreeSet::new();
    let mut open = vec![folder];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(path).expect("the tests can be read").flatten().map(|entry| entry.path()),
            );
        } else if !path.ends_with(Path::new(file!()).file_name().expect("this is a file")) {
            let text = fs::read_to_string(path).expect("source is UTF-8");
            words.extend(text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned));
        }
    }
    words
}

/// `ListOrders` is called as `list_orders` through a generated client.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[test]
fn every_rpc_is_named_in_a_test() {
    let (methods, words) = (methods(), words());
    let is_tested = |name: &str| words.contains(name) || words.contains(&snake_case(name));
    let untested: Vec<_> = methods
        .iter()
        .filter(|method| !NOT_YET.contains(&method.name()) && !is_tested(method.name()))
        .map(MethodDescriptor::full_name)
        .collect();
    assert!(methods.len() > NOT_YET.len(), "the contracts have {} methods", methods.len());
    assert!(untested.is_empty(), "no test names {untested:?}");

    let outdated: Vec<_> = NOT_YET.iter().filter(|name| is_tested(name)).collect();
    assert!(outdated.is_empty(), "tested by now, so take them off the list: {outdated:?}");
    let unknown: Vec<_> = NOT_YET.iter().filter(|name| !methods.iter().any(|m| m.name() == **name)).collect();
    assert!(unknown.is_empty(), "not in the contracts: {unknown:?}");
}
