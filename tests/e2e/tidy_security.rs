//! What SECURITY.md names as the test of a threat, RELIABILITY.md as that of a fault, and transcode as that of a rule, is one.

use std::{fs, path::Path};

/// The tests that a page names, as `PATH: NAME` in backticks.
fn named(page: &str) -> Vec<(&str, &str)> {
    let spans = page.split('`').skip(1).step_by(2);
    spans.filter_map(|span| span.split_once(".rs: ").map(|(path, name)| (path, name.trim()))).collect()
}

/// A page below the root, each test of which is there.
fn checked(page: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is below the root");
    let page = fs::read_to_string(root.join(page)).expect("the page is there");
    let is_there = |(path, name): &(&str, &str)| {
        let file = fs::read_to_string(root.join(format!("{path}.rs"))).unwrap_or_default();
        file.contains(&format!("fn {name}("))
    };
    let named = named(&page);
    let absent: Vec<_> = named.iter().filter(|test| !is_there(test)).collect();
    assert!(named.len() > 50 && absent.is_empty(), "of {} tests there are no {absent:?}", named.len());
    page
}

#[test]
fn every_fault_has_a_test_that_is_there() {
    let page = checked("docs/RELIABILITY.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault |"));
    let without: Vec<_> = rows.filter(|row| named(row).is_empty()).collect();
    assert!(without.is_empty(), "faults without a test: {without:?}");
}

#[test]
fn every_threat_has_a_test_that_is_there() {
    let page = checked("SECURITY.md");
    let (threats, _) = page.split_once("\n## OWASP").expect("the threats come first");
    let rows = threats.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| | "));
    let without: Vec<_> = rows.filter(|row| !row.contains(".rs: ")).collect();
    assert!(without.is_empty(), "threats without a test: {without:?}");
}

#[test]
fn every_item_of_the_list_of_owasp_is_answered() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is below the root");
    let page = fs::read_to_string(root.join("SECURITY.md")).expect("the page is there");
    for item in 1..=10 {
        let rows = page.lines().filter(|line| line.starts_with(&format!("| API{item} "))).count();
        assert_eq!(rows, 1, "API{item}");
    }
}

/// The last column of the table in transcode's README: its tests are in two files.
#[test]
fn every_rule_of_protojson_has_a_test_that_is_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transcode");
    let read = |path: &str| fs::read_to_string(folder.join(path)).expect("the file is there");
    let (page, tests) = (read("README.md"), read("tests/exact.rs") + &read("src/bind/tests.rs"));
    let (_, table) = page.split_once("| test in `tests/exact.rs` |").expect("it has the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|name| !name.contains('/'));
    let names: Vec<&str> = names.collect();
    let absent: Vec<_> = names.iter().filter(|name| !tests.contains(&format!("fn {name}("))).collect();
    assert!(names.len() > 15 && absent.is_empty(), "of {} tests there are no {absent:?}", names.len());
}
