//! The vocabulary of ARCHITECTURE.md: where the field has a word, no other one stands for the same thing.

use std::{collections::BTreeSet, fs, path::Path};

use crate::tidy_sources::assert_none;

/// Folders that keep to it.
const FOLDERS: [&str; 12] = [
    "auth",
    "chassis",
    "examples",
    "gateway",
    "mesh",
    "messaging",
    "orders",
    "payments",
    "service",
    "storage",
    "transcode",
    "upstream",
];

/// The second column of the table, in lower case.
fn refused() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is below the root");
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the page is there");
    let (_, table) = page.split_once("\n## Words\n").expect("it has the table");
    let rows = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let words = rows.flat_map(|row| row.split('|').nth(2).unwrap_or_default().split(','));
    words.map(|word| word.trim().to_lowercase()).filter(|word| !word.is_empty()).collect()
}

/// The words of a line, those within identifiers too: `heard_by`, `HeardBy`.
fn words(line: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::with_capacity(line.len() + 8);
    let mut before = ' ';
    for letter in line.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            spaced.push(' ');
        }
        spaced.push(if letter.is_alphabetic() { letter } else { ' ' });
        before = letter;
    }
    spaced.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().into_iter()
}

#[test]
fn words_within_identifiers_are_found() {
    let found: Vec<String> = words("let ToldBefore = who_heard(of: \"Bells\");").collect();
    assert_eq!(found, ["let", "told", "before", "who", "heard", "of", "bells"]);
    assert!(refused().contains("told"), "{:?}", refused());
}

#[test]
fn every_thing_has_its_word() {
    let refused = refused();
    assert_none("ARCHITECTURE.md, Words, has another word for that", |source| {
        if !FOLDERS.iter().any(|folder| source.path.starts_with(folder)) {
            return None;
        }
        let lines = source.text.lines().enumerate();
        let found: Vec<String> = lines
            .flat_map(|(at, line)| words(line).map(move |word| (at + 1, word)))
            .filter(|(_, word)| refused.contains(word))
            .map(|(line, word)| format!("{word} (line {line})"))
            .collect();
        (!found.is_empty()).then(|| found.join(", "))
    });
}
