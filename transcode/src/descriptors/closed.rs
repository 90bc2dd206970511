//! Closed enums of files that use editions: the library takes an enum for closed where its file is one of proto2, so each gets a place in
//! such a file, under another package, and what was its place keeps an enum that nobody uses.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::{
    numbers::{MESSAGES, NAME, NESTED, PACKAGE, joined},
    tree::{Tree, Unreadable, Value, check_depth},
};

/// What the packages of such enums begin with; the rest is the scope that they had.
pub(crate) const PREFIX: &str = "closed_enums.";

/// Of a file, of a message, and of a field.
const ENUMS: u32 = 5;
const EXTENSIONS: u32 = 7;
const FIELDS: u32 = 2;
const MESSAGE_EXTENSIONS: u32 = 6;
const TYPE_NAME: u32 = 6;
/// Of an enum, and of its values.
const VALUES: u32 = 2;
const NUMBER: u32 = 2;

/// The closed enums of a file.
pub(crate) struct Closed {
    file: String,
    by_scope: BTreeMap<String, Vec<(String, Bytes)>>,
}

impl Closed {
    pub(crate) fn of(file: &str) -> Self {
        Self { file: file.to_owned(), by_scope: BTreeMap::new() }
    }

    /// Takes an enum out of a scope. What stays is an open one, which has to begin with zero, so that places and comments do not change.
    pub(crate) fn take(&mut self, tree: &mut Tree, scope: &str) -> Result<(), Unreadable> {
        self.by_scope.entry(scope.to_owned()).or_default().push((tree.text(NAME), tree.write()));
        let first = tree.each(VALUES).next().cloned();
        tree.remove(VALUES);
        if let Some(first) = first {
            let mut first = Tree::read(first)?;
            first.set(NUMBER, Value::Varint(0));
            tree.push(VALUES, Value::Bytes(first.write()));
        }
        Ok(())
    }

    /// The files with what was taken, one for each scope. The new name of each enum is noted.
    pub(crate) fn files(self, renamed: &mut HashMap<String, String>) -> Vec<Tree> {
        let Self { file, by_scope } = self;
        let mut files = Vec::new();
        for (scope, enums) in by_scope {
            let package = format!("{PREFIX}{scope}").trim_end_matches('.').to_owned();
            let mut tree = Tree::default();
            tree.push(NAME, Value::Bytes(format!("{file}: closed enums of {scope}").into()));
            tree.push(PACKAGE, Value::Bytes(package.clone().into()));
            for (name, bytes) in enums {
                renamed
                    .insert(format!(".{}", joined(&scope, &name)), format!(".{}", joined(&package, &name)));
                tree.push(ENUMS, Value::Bytes(bytes));
            }
            files.push(tree);
        }
        files
    }
}

/// Gives the enums that fields name their new names.
pub(crate) fn rename(file: &mut Tree, renamed: &HashMap<String, String>) -> Result<(), Unreadable> {
    if renamed.is_empty() {
        return Ok(());
    }
    file.edit(EXTENSIONS, &mut |field| in_field(field, renamed))?;
    file.edit(MESSAGES, &mut |message| in_message(message, renamed, 0))
}

fn in_message(message: &mut Tree, renamed: &HashMap<String, String>, depth: usize) -> Result<(), Unreadable> {
    check_depth(depth)?;
    message.edit(FIELDS, &mut |field| in_field(field, renamed))?;
    message.edit(MESSAGE_EXTENSIONS, &mut |field| in_field(field, renamed))?;
    message.edit(NESTED, &mut |message| in_message(message, renamed, depth + 1))
}

fn in_field(field: &mut Tree, renamed: &HashMap<String, String>) -> Result<(), Unreadable> {
    if let Some(name) = renamed.get(&field.text(TYPE_NAME)) {
        field.set(TYPE_NAME, Value::Bytes(name.clone().into()));
    }
    Ok(())
}
