//! Descriptors that somebody else wrote: what can be served of them is, and each part that cannot be is named.
//!
//! Files that use editions are lowered first, imports that are nowhere to be had are done without, and of what is left everything is kept
//! that fits together: a method whose types are not described goes alone, a file that cannot be read with those that build on it.

mod numbers;
mod order;
mod pool;
mod tree;
mod lower;
mod closed;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use bytes::Bytes;
use prost_reflect::DescriptorPool;

use self::{
    numbers::{
        COMMENTS, FILES, IMPORTS, INPUT, MESSAGES, METHODS, NAME, NESTED, OPTION_IMPORTS, OUTPUT, PACKAGE,
        PUBLIC_IMPORTS, SERVICES, WEAK_IMPORTS, joined,
    },
    pool::Pool,
    tree::{Tree, Unreadable, Value},
};

/// Descriptors as far as they can be used.
#[derive(Debug, Default)]
pub(crate) struct Described {
    pub(crate) pool: DescriptorPool,
    /// What cannot be, each with the reason.
    pub(crate) left_out: Vec<String>,
}

/// Reads an encoded `google.protobuf.FileDescriptorSet` that may be of any edition, incomplete, and wrong in places. The set `google` has
/// the files of Google, for sets that do not have what they import.
///
/// # Errors
/// Bytes that are no such set.
pub(crate) fn read(set: &Bytes, google: &Bytes) -> Result<Described, String> {
    Set::of(set, &of_google(google)).map(Set::described)
}

fn of_google(set: &Bytes) -> BTreeMap<String, Bytes> {
    let set = Tree::read(set.clone()).unwrap_or_default();
    let files = set.each(FILES).filter_map(|file| Some((name_of(file).ok()?, file.clone())));
    files.filter(|(name, _)| name.starts_with("google/")).collect()
}

/// The files that a file imports, for its types and for its options alone.
///
/// # Errors
/// Bytes that are no `google.protobuf.FileDescriptorProto`.
pub fn imports(file: &Bytes) -> Result<Vec<String>, String> {
    let file = Tree::read(file.clone()).map_err(|error| error.to_string())?;
    Ok(file.texts(IMPORTS).chain(file.texts(OPTION_IMPORTS)).collect())
}

/// The name of a file.
///
/// # Errors
/// Bytes that are no `google.protobuf.FileDescriptorProto`, or that have no name.
pub fn name_of(file: &Bytes) -> Result<String, String> {
    let name = Tree::read(file.clone()).map_err(|error| error.to_string())?.text(NAME);
    if name.is_empty() { Err("a file has no name".to_owned()) } else { Ok(name) }
}

/// The full names of the services that a file declares.
///
/// # Errors
/// Bytes that are no `google.protobuf.FileDescriptorProto`.
pub fn services(file: &Bytes) -> Result<Vec<String>, String> {
    let file = Tree::read(file.clone()).map_err(|error| error.to_string())?;
    let (package, mut names) = (file.text(PACKAGE), Vec::new());
    for service in file.each(SERVICES) {
        let service = Tree::read(service.clone()).map_err(|error| error.to_string())?;
        names.push(joined(&package, &service.text(NAME)));
    }
    Ok(names)
}

/// A file in which those services that are not served, by their full names, have no methods: a file is also imported for its messages. The
/// places of services stay, which comments are found by.
///
/// # Errors
/// Bytes that are no `google.protobuf.FileDescriptorProto`.
pub fn as_served(file: &Bytes, is_served: impl Fn(&str) -> bool) -> Result<Bytes, String> {
    let mut tree = Tree::read(file.clone()).map_err(|error| error.to_string())?;
    let package = tree.text(PACKAGE);
    let edited = tree.edit(SERVICES, &mut |service| {
        if !is_served(&joined(&package, &service.text(NAME))) {
            service.remove(METHODS);
        }
        Ok(())
    });
    edited.map_err(|error| error.to_string())?;
    Ok(tree.write())
}

/// A file with those methods alone that are shown, by their full names: a service without any goes with its name, and comments do, which are
/// found by the places of services. A file of which all is shown is as it was.
///
/// # Errors
/// Bytes that are no `google.protobuf.FileDescriptorProto`.
pub fn as_shown(file: &Bytes, is_shown: impl Fn(&str) -> bool) -> Result<Bytes, String> {
    let mut tree = Tree::read(file.clone()).map_err(|error| error.to_string())?;
    let (package, mut is_whole) = (tree.text(PACKAGE), true);
    let edited = tree.edit(SERVICES, &mut |service| {
        let scope = joined(&package, &service.text(NAME));
        service.retain(METHODS, |method| {
            let name = Tree::read(method.clone()).map(|method| joined(&scope, &method.text(NAME)));
            let is_kept = name.is_ok_and(|name| is_shown(&name));
            is_whole &= is_kept;
            is_kept
        });
        Ok(())
    });
    edited.map_err(|error| error.to_string())?;
    tree.retain(SERVICES, |service| {
        let is_kept = Tree::read(service.clone()).is_ok_and(|service| service.each(METHODS).next().is_some());
        is_whole &= is_kept;
        is_kept
    });
    if is_whole {
        return Ok(file.clone());
    }
    tree.remove(COMMENTS);
    Ok(tree.write())
}

/// Files that can be read, each by itself.
struct Set {
    files: Vec<File>,
    left_out: Vec<String>,
}

struct File {
    name: String,
    tree: Tree,
    /// The full names of its messages.
    messages: Vec<String>,
}

impl Set {
    fn of(set: &Bytes, google: &BTreeMap<String, Bytes>) -> Result<Self, String> {
        let set = Tree::read(set.clone()).map_err(|error| error.to_string())?;
        let mut read = Self { files: Vec::new(), left_out: Vec::new() };
        let mut names = BTreeSet::new();
        let mut waiting: VecDeque<Bytes> = set.each(FILES).cloned().collect();
        let mut renamed = HashMap::new();
        while let Some(file) = waiting.pop_front() {
            let name = match name_of(&file) {
                Ok(name) => name,
                Err(error) => {
                    read.left_out.push(format!("a file that cannot be read: {error}"));
                    continue;
                }
            };
            if !names.insert(name.clone()) {
                continue;
            }
            match lowered(file, &mut renamed) {
                Ok(files) => read.files.extend(files),
                Err(error) => read.left_out.push(format!("{name}: {error}")),
            }
            if waiting.is_empty() {
                // What is imported and was not sent.
                let missing = read.files.iter().flat_map(|file| {
                    file.tree.texts(IMPORTS).chain(file.tree.texts(OPTION_IMPORTS)).collect::<Vec<_>>()
                });
                let missing: BTreeSet<String> = missing.filter(|name| !names.contains(name)).collect();
                waiting.extend(missing.iter().filter_map(|name| google.get(name).cloned()));
            }
        }
        let Self { files, left_out } = &mut read;
        files.retain_mut(|file| match closed::rename(&mut file.tree, &renamed) {
            Ok(()) => true,
            Err(error) => {
                left_out.push(format!("{}: {error}", file.name));
                false
            }
        });
        Ok(read)
    }

    fn described(mut self) -> Described {
        let mut pool = Pool::default();
        let mut known: HashSet<String> = HashSet::new();
        let mut added = BTreeSet::new();
        let files = std::mem::take(&mut self.files);
        let places = {
            let imports = |file: &File| file.tree.texts(IMPORTS).collect::<BTreeSet<String>>();
            let named = files.iter().map(|file| (file.name.as_str(), imports(file)));
            order::of(&named.collect::<Vec<_>>())
        };
        let mut files: Vec<Option<File>> = files.into_iter().map(Some).collect();
        for mut file in places.into_iter().filter_map(|place| files[place].take()) {
            known.extend(file.messages.iter().cloned());
            without_imports(&mut file.tree, |name| added.contains(name));
            self.without_methods(&mut file.tree, &known);
            match pool.add(&file.name, file.tree.write()) {
                Ok(()) => drop(added.insert(file.name)),
                Err(error) => {
                    for name in &file.messages {
                        known.remove(name);
                    }
                    self.left_out.push(format!("{}: {error}", file.name));
                }
            }
        }
        let others = files.iter().flatten();
        self.left_out.extend(others.map(|file| format!("{}: it imports itself", file.name)));
        Described { pool: pool.into_inner(), left_out: self.left_out }
    }

    /// Leaves out the methods whose types nobody has described.
    fn without_methods(&mut self, file: &mut Tree, known: &HashSet<String>) {
        let package = file.text(PACKAGE);
        let left_out = &mut self.left_out;
        // What cannot be read is for the pool to refuse.
        let _edited = file.edit(SERVICES, &mut |service| {
            let scope = joined(&package, &service.text(NAME));
            service.retain(METHODS, |method| {
                let Ok(method) = Tree::read(method.clone()) else { return true };
                let types = [method.text(INPUT), method.text(OUTPUT)];
                let unknown =
                    types.iter().map(|name| name.trim_start_matches('.')).find(|name| !known.contains(*name));
                left_out.extend(
                    unknown.map(|name| format!("{scope}.{}: {name} is not described", method.text(NAME))),
                );
                unknown.is_none()
            });
            Ok(())
        });
    }
}

/// A file as prost-reflect knows it, and the files that it was split into.
fn lowered(file: Bytes, renamed: &mut HashMap<String, String>) -> Result<Vec<File>, Unreadable> {
    let file = Tree::read(file)?;
    let trees = lower::file(file, renamed)?;
    let of = |tree: Tree| {
        let mut messages = Vec::new();
        let package = tree.text(PACKAGE);
        names(&tree, MESSAGES, &package, 0, &mut messages)?;
        Ok(File { name: tree.text(NAME), tree, messages })
    };
    trees.into_iter().map(of).collect()
}

/// The full names of the messages in a field of a file or of a message.
fn names(
    tree: &Tree,
    field: u32,
    scope: &str,
    depth: usize,
    found: &mut Vec<String>,
) -> Result<(), Unreadable> {
    tree::check_depth(depth)?;
    for message in tree.each(field) {
        let message = Tree::read(message.clone())?;
        let name = joined(scope, &message.text(NAME));
        names(&message, NESTED, &name, depth + 1, found)?;
        found.push(name);
    }
    Ok(())
}

/// Does without the imports that are not there; the places of the others change.
fn without_imports(file: &mut Tree, is_there: impl Fn(&str) -> bool) {
    let imports: Vec<String> = file.texts(IMPORTS).collect();
    if imports.iter().all(|name| is_there(name)) {
        return;
    }
    let mut place = 0;
    let mut places = HashMap::new();
    for (before, name) in imports.iter().enumerate() {
        if is_there(name) {
            places.insert(before as u64, place);
            place += 1;
        }
    }
    file.retain(IMPORTS, |name| is_there(&String::from_utf8_lossy(name)));
    for list in [PUBLIC_IMPORTS, WEAK_IMPORTS] {
        let left: Vec<u64> = file.varints(list).filter_map(|before| places.get(&before).copied()).collect();
        file.remove(list);
        left.into_iter().for_each(|place| file.push(list, Value::Varint(place)));
    }
}
