//! The layout's rules for source files, so that a reader can rely on them: small files that say what they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Names that say nothing about what is inside, and therefore attract everything.
const EMPTY_NAMES: [&str; 8] = ["mod", "util", "utils", "common", "helper", "helpers", "misc", "shared"];

const LINES: usize = 300;

/// Tests repeat themselves for the sake of the reader.
const LINES_OF_TESTS: usize = 400;

pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    /// The limit on its length.
    fn may_have(&self) -> usize {
        if self.path.iter().any(|folder| folder == "tests") { LINES_OF_TESTS } else { LINES }
    }
}

/// Every source file of the workspace, by its path from the root.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is below the root");
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the workspace can be read").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("source is UTF-8");
                let path = path.strip_prefix(root).expect("found below the root").to_owned();
                sources.push(Source { path, text });
            }
        }
    }
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

/// Fails with all offenders at once.
#[track_caller]
pub(crate) fn assert_none(rule: &str, breaks: impl Fn(&Source) -> Option<String>) {
    let broken = |source: &Source| Some(format!("{}: {}", source.path.display(), breaks(source)?));
    let offenders: Vec<_> = sources().iter().filter_map(broken).collect();
    assert!(offenders.is_empty(), "{rule}\n{}", offenders.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is() {
    assert_none("the first line must be a //! sentence", |source| {
        let first = source.text.lines().next().unwrap_or_default();
        (!first.starts_with("//! ")).then(|| format!("starts with {first:?}"))
    });
}

#[test]
fn every_file_is_short() {
    assert_none("split it by ideas", |source| {
        let lines = source.text.lines().count();
        (lines > source.may_have()).then(|| format!("{lines} lines, at most {}", source.may_have()))
    });
}

/// Clippy counts the lines of functions, without comments and blank lines, in every package that takes the workspace's lints. Here is asked that it
/// does, and that only generated code is beyond its bound.
#[test]
fn every_function_is_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is below the root");
    let has = |file: &str, line: &str| {
        let text = fs::read_to_string(root.join(file)).expect("the file is there");
        assert!(text.lines().any(|own| own == line), "{file} has no line {line:?}");
    };
    // In two pieces, so that this file keeps its own rule.
    let lint = concat!("too_many", "_lines");
    has("Cargo.toml", &format!("{lint} = \"warn\""));
    has("clippy.toml", "too-many-lines-threshold = 60");
    has("scripts/test", "step cargo clippy --workspace --all-targets --locked -- -D warnings");
    assert_none("split it by ideas", |source| {
        let silenced = |line: &&str| line.contains(lint) && !line.contains("reason = \"generated\"");
        source.text.lines().find(silenced).map(|line| line.trim().to_owned())
    });
}

/// What decides knows no database and no wire, and waits for nothing: its rows are those of `store/entity`, plain values.
#[test]
fn what_decides_knows_no_framework() {
    assert_none("a domain decides, others read, write and answer", |source| {
        let mut folders = source.path.iter().map(|part| part.to_string_lossy());
        folders.any(|part| part == "domain" || part == "domain.rs").then_some(())?;
        let foreign = ["sea_orm", "tonic", "tokio", "async ", ".await"];
        foreign.into_iter().find(|word| source.text.contains(word)).map(|word| format!("has {word:?}"))
    });
}

#[test]
fn every_name_says_something() {
    assert_none("name it after what it does", |source| {
        let parts = source.path.with_extension("");
        let part = parts.iter().find(|part| EMPTY_NAMES.iter().any(|name| part == name));
        part.map(|part| part.display().to_string()).or_else(|| module_with_empty_name(&source.text))
    });
}

fn module_with_empty_name(text: &str) -> Option<String> {
    let modules = text.lines().filter_map(|line| {
        let (visibility, name) = line.trim().split_once("mod ")?;
        (visibility.is_empty() || visibility.starts_with("pub"))
            .then(|| name.trim_end_matches([';', '{', ' ']))
    });
    modules.into_iter().find(|name| EMPTY_NAMES.contains(name)).map(|name| format!("mod {name}"))
}

#[test]
fn no_lint_is_silenced_for_ever() {
    // In two pieces, so that this file keeps its own rule.
    let silencers = [concat!("#[al", "low("), concat!("#![al", "low(")];
    assert_none("use #[expect(lint, reason = \"…\")], which ends when its reason does", |source| {
        let line = source.text.lines().find(|line| silencers.iter().any(|silencer| line.contains(silencer)));
        line.map(|line| line.trim().to_owned())
    });
}
