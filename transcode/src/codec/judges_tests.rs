//! Protobuf for Python and protobuf-es judge beside prost-reflect: what they read and print is what the edge reads and prints, but for the
//! table of where each of them is not as the specification is.
//!
//! `ORACLE_SEED` says which messages are generated, `PROPTEST_CASES` how many.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    fixture::{EVERY, every_set},
    reflect::print,
};

mod deviations;
mod spellings;

use self::{
    deviations::{Judge, deviates},
    spellings::{message, text},
};

/// The answers to cases, in their order.
fn ask(judge: Judge, cases: &[Json]) -> Vec<Json> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("../target/tools");
    let folder = tempfile::tempdir().expect("a folder");
    let set = folder.path().join("set.binpb");
    std::fs::write(&set, every_set()).expect("a file");
    let (program, arguments): (PathBuf, Vec<PathBuf>) = match judge {
        Judge::Python => (tools.join("python/bin/python"), vec![root.join("tests/oracles/oracle.py")]),
        Judge::Es => ("node".into(), vec![root.join("tests/oracles/oracle.cjs"), tools.join("typescript")]),
    };
    let mut child = Command::new(&program)
        .args(arguments)
        .arg(set)
        .arg(EVERY.full_name())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}: run scripts/setup", program.display()));
    let mut input = child.stdin.take().expect("piped");
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let writer = thread::spawn(move || input.write_all(lines.as_bytes()).expect("it reads"));
    let outcome = child.wait_with_output().expect("it ends");
    writer.join().expect("all is written");
    assert!(outcome.status.success(), "{judge:?}: {:?}", outcome.status);
    let answers = String::from_utf8(outcome.stdout).expect("text");
    let answers: Vec<Json> = answers.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), cases.len());
    answers
}

/// What a message is, in a form that is the same for the same message; `None` for bytes that are none.
fn meaning(wire: &[u8]) -> Option<String> {
    let message = DynamicMessage::decode(EVERY.clone(), wire).ok()?;
    String::from_utf8(print::message(&message, usize::MAX).ok()?).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// A generated message, and what the edge makes of it.
struct Case {
    tree: Json,
    text: String,
    wire: Option<Vec<u8>>,
}

fn generated() -> Vec<Case> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (seed, count): (u64, u64) =
        (number("ORACLE_SEED").unwrap_or(1), number("PROPTEST_CASES").unwrap_or(12_500));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let messages = message(2);
    let kind = Type::new(&EVERY);
    let case = |_| {
        let tree = messages.new_tree(&mut runner).expect("a message").current();
        let text = text(&tree);
        Case { wire: kind.wire(text.as_bytes(), false).ok(), tree, text }
    };
    (0..count).map(case).collect()
}

/// Every message that is read, read otherwise or refused against the table.
fn judge(judge: Judge) {
    let cases = generated();
    let kind = Type::new(&EVERY);
    let read = cases.iter().filter(|case| case.wire.is_some()).count();
    assert!(read * 2 > cases.len(), "most messages are right: {read} of {}", cases.len());
    let mut asked: Vec<(&Case, &str, Json)> =
        cases.iter().map(|case| (case, "reads", json!({"json": case.text}))).collect();
    for case in &cases {
        if let Some(wire) = &case.wire {
            asked.push((case, "prints", json!({"wire": hex(wire)})));
            let printed = kind.json(wire).expect("has a JSON form");
            asked.push((
                case,
                "reads what is printed",
                json!({"json": String::from_utf8(printed).expect("UTF-8")}),
            ));
        }
    }
    let questions: Vec<Json> = asked.iter().map(|(.., question)| question.clone()).collect();
    let answers = ask(judge, &questions);
    let (mut wrong, mut excused) = (Vec::new(), 0);
    for ((case, what, question), answer) in asked.iter().zip(answers) {
        let ours = case.wire.as_deref().and_then(meaning);
        let theirs = match (answer["wire"].as_str(), answer["json"].as_str()) {
            (Some(wire), _) => meaning(&unhex(wire)),
            (_, Some(text)) => kind.wire(text.as_bytes(), false).ok().and_then(|wire| meaning(&wire)),
            _ => None,
        };
        if ours == theirs {
            continue;
        }
        if deviates(judge, &EVERY, &case.tree) {
            excused += 1;
        } else {
            wrong.push(format!("{what}: {question}\n  edge:  {ours:?}\n  judge: {theirs:?} {answer}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{judge:?}, {} of {}:\n{}",
        wrong.len(),
        asked.len(),
        wrong[..wrong.len().min(30)].join("\n")
    );
    assert!(excused * 4 < asked.len(), "the table excuses {excused} of {}", asked.len());
}

#[test]
fn python_reads_and_prints_the_same() {
    judge(Judge::Python);
}

#[test]
fn protobuf_es_reads_and_prints_the_same() {
    judge(Judge::Es);
}
