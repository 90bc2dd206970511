//! Wide messages: the time that they are read and printed in is in proportion to their length, whatever is in them.

use std::{fmt::Write as _, hint::black_box, sync::LazyLock};

use prost_reflect::DescriptorPool;
use transcode::Type;

use world::assert_in_proportion;

const FEW: usize = 10_000;
const MANY: usize = 10 * FEW;

/// Ten times as many take ten times as long, and somewhat more where they no longer fit into a cache. What is looked through for each of them
/// takes a hundred times as long.
const MOST: u32 = 30;

static EVERY: LazyLock<Type> = LazyLock::new(|| {
    let folder = format!("{}/tests/proto", env!("CARGO_MANIFEST_DIR"));
    named(&[folder.as_ref()], "every.proto", "every.v1.Every")
});

fn named(folders: &[&std::path::Path], file: &str, name: &str) -> Type {
    let mut compiler = protox::Compiler::new(folders).expect("the folders are there");
    compiler.include_imports(true).open_file(file).expect("a valid contract");
    let pool = DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice());
    Type::new(&pool.expect("a complete set").get_message_by_name(name).expect("it is there"))
}

/// So many items with commas between them.
fn items(count: usize, item: impl Fn(&mut String, usize)) -> String {
    (0..count).fold(String::new(), |mut items, at| {
        if at > 0 {
            items.push(',');
        }
        item(&mut items, at);
        items
    })
}

fn write(to: &mut String, part: std::fmt::Arguments<'_>) {
    to.write_fmt(part).expect("there is room");
}

/// An array in an array, and so on, with as many numbers as asked for on thirty levels.
fn deep(count: usize) -> String {
    let level = items(count / 30, |items, at| write(items, format_args!("{at}")));
    (0..30).fold("0".to_owned(), |inner, _| format!("[{level},{inner}]"))
}

/// The members of an object that has so many things in it.
type Members = fn(usize) -> String;

/// Not for the tables: an integer that is spelled as none of them reads it.
const BY_REFLECTION: &str = "\"looseInt32s\":[7.0]";

const SHAPES: [(&str, Members); 8] = [
    ("a map of numbers", |count| {
        format!("\"byInt32\":{{{}}}", items(count, |items, at| write(items, format_args!("\"{at}\":1"))))
    }),
    ("a map of messages", |count| {
        format!("\"byString\":{{{}}}", items(count, |items, at| write(items, format_args!("\"k{at}\":{{}}"))))
    }),
    ("a Struct", |count| {
        format!("\"object\":{{{}}}", items(count, |items, at| write(items, format_args!("\"k{at}\":null"))))
    }),
    ("an Any", |count| {
        let map = items(count, |items, at| write(items, format_args!("\"{at}\":true")));
        format!("\"any\":{{\"@type\":\"type.googleapis.com/every.v1.Every\",\"byUint32\":{{{map}}}}}")
    }),
    ("a list of messages", |count| {
        format!("\"inners\":[{}]", items(count, |items, _| items.push_str("{\"aString\":\"a\"}")))
    }),
    ("a list of numbers", |count| {
        format!("\"doubles\":[{}]", items(count, |items, at| write(items, format_args!("{at}.5"))))
    }),
    ("a list of values", |count| {
        format!("\"allValues\":[{}]", items(count, |items, _| items.push_str("\"a\"")))
    }),
    ("arrays in arrays", |count| format!("\"anything\":{}", deep(count))),
];

fn text(members: Members, count: usize, by_reflection: bool) -> String {
    let members = members(count);
    if by_reflection { format!("{{{BY_REFLECTION},{members}}}") } else { format!("{{{members}}}") }
}

fn assert_read_in_proportion(what: &str, few: &str, many: &str, lenient: bool, is_right: bool) {
    let read = |text: &str| {
        let wire = black_box(EVERY.wire(text.as_bytes(), lenient));
        assert_eq!(wire.is_ok(), is_right, "{what}");
    };
    assert_in_proportion(what, MOST, || read(few), || read(many));
}

fn assert_all_are_read_in_proportion(by_reflection: bool) {
    for (what, members) in SHAPES {
        let [few, many] = [FEW, MANY].map(|count| text(members, count, by_reflection));
        assert_read_in_proportion(what, &few, &many, false, true);
    }
}

#[test]
fn wide_messages_are_read_in_proportion_by_tables() {
    assert_all_are_read_in_proportion(false);
}

#[test]
fn wide_messages_are_read_in_proportion_by_reflection() {
    assert_all_are_read_in_proportion(true);
}

#[test]
fn so_are_names_that_nobody_knows_and_values_that_do_not_fit() {
    let unknown: Members = |count| items(count, |items, at| write(items, format_args!("\"k{at}\":{{}}")));
    let wrong: Members = |count| {
        format!("\"byInt32\":{{{}}}", items(count, |items, at| write(items, format_args!("\"k{at}\":true"))))
    };
    for (what, members, lenient) in [
        ("unknown names", unknown, false),
        ("names that are passed over", unknown, true),
        ("wrong values", wrong, true),
    ] {
        let [few, many] = [FEW, MANY].map(|count| text(members, count, false));
        let is_right = what == "names that are passed over";
        assert_read_in_proportion(what, &few, &many, lenient, is_right);
    }
}

/// With this behind them.
fn assert_all_are_printed_in_proportion(behind: &[u8]) {
    for (what, members) in SHAPES {
        let [few, many] = [FEW, MANY].map(|count| {
            let wire = EVERY.wire(text(members, count, false).as_bytes(), false).expect("it is read");
            [&wire, behind].concat()
        });
        let print = |wire: &[u8]| drop(black_box(EVERY.json(wire).expect("it has a form")));
        assert_in_proportion(what, MOST, || print(&few), || print(&many));
    }
}

#[test]
fn wide_messages_are_printed_in_proportion_by_tables() {
    assert_all_are_printed_in_proportion(&[]);
}

#[test]
fn wide_messages_are_printed_in_proportion_by_reflection() {
    // A group that nobody knows, which no table passes over.
    assert_all_are_printed_in_proportion(&[0xfb, 0x7f, 0xfc, 0x7f]);
}

/// Each field of a oneof is absent but for the last one: none of them looks for it among all others.
#[test]
fn a_wide_oneof_is_read_in_proportion() {
    let folder = tempfile::tempdir().expect("a folder");
    let wide = |count: usize| {
        let fields = (1..=count).fold(String::new(), |mut fields, number| {
            // Above what is reserved for the implementation of protobuf.
            write(&mut fields, format_args!(" int32 f{number} = {};", 20_000 + number));
            fields
        });
        let file = format!("wide{count}.proto");
        let contract = format!("syntax = \"proto3\"; message Wide {{ oneof choice {{{fields} }} }}");
        std::fs::write(folder.path().join(&file), contract).expect("a file");
        let kind = named(&[folder.path()], &file, "Wide");
        let names = items(count, |items, at| write(items, format_args!("\"f{}\":null", at + 1)));
        let json = names.replacen(&format!("\"f{count}\":null"), "", 1);
        // It comes first, so that every other one would be looked for among what is there.
        let json = format!("{{\"f{count}\":1,{}}}", json.trim_end_matches(','));
        kind.wire(json.as_bytes(), false).expect("one of them is there");
        move || drop(black_box(kind.wire(json.as_bytes(), false)))
    };
    assert_in_proportion("a oneof", MOST, wide(400), wide(4_000));
}
