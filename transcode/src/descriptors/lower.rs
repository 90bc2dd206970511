//! Files that use editions (<https://protobuf.dev/editions/features>) as files of proto3 that say the same: presence, packing and groups are
//! written at each field, and closed enums go into files of proto2.

use std::collections::{HashMap, HashSet};

use super::{
    closed::Closed,
    numbers::{IMPORTS, MESSAGES, NAME, NESTED, PACKAGE, PUBLIC_IMPORTS, joined},
    tree::{Tree, Unreadable, Value, check_depth},
};

/// Fields of descriptor.proto: of a file,
const ENUMS: u32 = 5;
const EXTENSIONS: u32 = 7;
const FILE_OPTIONS: u32 = 8;
const SYNTAX: u32 = 12;
const EDITION: u32 = 14;
/// of a message,
const FIELDS: u32 = 2;
const MESSAGE_ENUMS: u32 = 4;
const MESSAGE_EXTENSIONS: u32 = 6;
const MESSAGE_OPTIONS: u32 = 7;
const MAP_ENTRY: u32 = 7;
/// of a field,
const LABEL: u32 = 4;
const TYPE: u32 = 5;
const TYPE_NAME: u32 = 6;
const FIELD_OPTIONS: u32 = 8;
const ONEOF: u32 = 9;
const PROTO3_OPTIONAL: u32 = 17;
const PACKED: u32 = 2;
/// of an enum,
const ENUM_OPTIONS: u32 = 3;
/// and the features in the options of each.
const FILE_FEATURES: u32 = 50;
const MESSAGE_FEATURES: u32 = 12;
const FIELD_FEATURES: u32 = 21;
const ENUM_FEATURES: u32 = 7;

const EDITION_2023: u64 = 1_000;
const EDITION_2024: u64 = 1_001;

const REQUIRED: u64 = 2;
const REPEATED: u64 = 3;

const STRING: u64 = 9;
const GROUP: u64 = 10;
const MESSAGE: u64 = 11;
const BYTES: u64 = 12;

/// The features that JSON and the wire depend on; both editions have the same defaults.
#[derive(Debug, Clone, Copy)]
struct Features {
    presence: Presence,
    is_closed: bool,
    is_packed: bool,
    is_delimited: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Explicit,
    Implicit,
    Required,
}

const DEFAULTS: Features =
    Features { presence: Presence::Explicit, is_closed: false, is_packed: true, is_delimited: false };

impl Features {
    /// These, but for what the options of something say of it.
    fn with(mut self, options: &Tree, field: u32) -> Result<Self, Unreadable> {
        let set = options.message(field)?;
        match set.varint(1) {
            Some(1) => self.presence = Presence::Explicit,
            Some(2) => self.presence = Presence::Implicit,
            Some(3) => self.presence = Presence::Required,
            _ => {}
        }
        let is = |number, value: u64, before| {
            set.varint(number).filter(|v| *v != 0).map_or(before, |v| v == value)
        };
        self.is_closed = is(2, 2, self.is_closed);
        self.is_packed = is(3, 1, self.is_packed);
        self.is_delimited = is(5, 2, self.is_delimited);
        Ok(self)
    }
}

/// A file, lowered where it uses an edition, and the files of its closed enums. Enums that have another name now are noted, each with its
/// old one.
///
/// # Errors
/// An edition that is not known, and what cannot be read.
pub(crate) fn file(mut file: Tree, renamed: &mut HashMap<String, String>) -> Result<Vec<Tree>, Unreadable> {
    match file.varint(EDITION) {
        _ if file.text(SYNTAX) != "editions" => return Ok(vec![file]),
        Some(EDITION_2023 | EDITION_2024) => {}
        edition => {
            let edition = edition.unwrap_or_default();
            return Err(Unreadable(format!("the edition with the number {edition} is not known")));
        }
    }
    let features = DEFAULTS.with(&file.message(FILE_OPTIONS)?, FILE_FEATURES)?;
    file.set(SYNTAX, Value::Bytes("proto3".into()));
    file.remove(EDITION);
    let (package, mut closed) = (file.text(PACKAGE), Closed::of(&file.text(NAME)));
    file.edit(MESSAGES, &mut |tree| message(tree, features, &package, 0, &mut closed))?;
    file.edit(ENUMS, &mut |tree| enumeration(tree, features, &package, &mut closed))?;
    file.edit(EXTENSIONS, &mut |tree| field(tree, features, Place::Extension))?;
    let others = closed.files(renamed);
    for other in &others {
        let place = file.each(IMPORTS).count() as u64;
        file.push(IMPORTS, Value::Bytes(other.text(NAME).into()));
        // Whoever imports this file finds the enums as before.
        file.push(PUBLIC_IMPORTS, Value::Varint(place));
    }
    Ok(others.into_iter().chain([file]).collect())
}

fn message(
    tree: &mut Tree,
    outer: Features,
    scope: &str,
    depth: usize,
    closed: &mut Closed,
) -> Result<(), Unreadable> {
    check_depth(depth)?;
    let options = tree.message(MESSAGE_OPTIONS)?;
    let features = outer.with(&options, MESSAGE_FEATURES)?;
    let name = joined(scope, &tree.text(NAME));
    let mut entries = HashSet::new();
    for nested in tree.each(NESTED) {
        let nested = Tree::read(nested.clone())?;
        if nested.message(MESSAGE_OPTIONS)?.varint(MAP_ENTRY) == Some(1) {
            entries.insert(format!(".{}", joined(&name, &nested.text(NAME))));
        }
    }
    let is_entry = options.varint(MAP_ENTRY) == Some(1);
    tree.edit(NESTED, &mut |tree| message(tree, features, &name, depth + 1, closed))?;
    tree.edit(MESSAGE_ENUMS, &mut |tree| enumeration(tree, features, &name, closed))?;
    tree.edit(MESSAGE_EXTENSIONS, &mut |tree| field(tree, features, Place::Extension))?;
    tree.edit(FIELDS, &mut |tree| {
        // Maps have a form of their own, whatever is said of the messages around them.
        let is_map = is_entry || entries.contains(&tree.text(TYPE_NAME));
        field(tree, features, if is_map { Place::Map } else { Place::Message })
    })
}

/// Where a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Message,
    /// In the entry of a map, or the map itself.
    Map,
    Extension,
}

fn field(tree: &mut Tree, outer: Features, place: Place) -> Result<(), Unreadable> {
    let mut options = tree.message(FIELD_OPTIONS)?;
    let features = outer.with(&options, FIELD_FEATURES)?;
    let kind = tree.varint(TYPE).unwrap_or_default();
    if kind == MESSAGE && features.is_delimited && place != Place::Map {
        tree.set(TYPE, Value::Varint(GROUP));
    }
    if tree.varint(LABEL) == Some(REPEATED) {
        if ![STRING, GROUP, MESSAGE, BYTES].contains(&kind) {
            options.set(PACKED, Value::Varint(features.is_packed.into()));
            tree.set(FIELD_OPTIONS, Value::Bytes(options.write()));
        }
        return Ok(());
    }
    if place == Place::Message && tree.varint(ONEOF).is_none() {
        if features.presence == Presence::Required {
            tree.set(LABEL, Value::Varint(REQUIRED));
        }
        // A message has its presence in any case.
        if features.presence != Presence::Implicit && ![GROUP, MESSAGE].contains(&kind) {
            tree.set(PROTO3_OPTIONAL, Value::Varint(1));
        }
    }
    Ok(())
}

fn enumeration(tree: &mut Tree, outer: Features, scope: &str, closed: &mut Closed) -> Result<(), Unreadable> {
    let features = outer.with(&tree.message(ENUM_OPTIONS)?, ENUM_FEATURES)?;
    if features.is_closed { closed.take(tree, scope) } else { Ok(()) }
}
