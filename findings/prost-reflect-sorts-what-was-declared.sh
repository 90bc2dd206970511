#!/usr/bin/env bash
# prost-reflect 0.16.5 (crates.io): the values of an enum and the fields of a message come sorted by number, not as they were declared.
#
# Guess: `EnumDescriptor::values()` and `MessageDescriptor::fields()` go through what the file declares in its order, as the descriptors of
#        C++, Java, Python and Go do.
# Seen:  both are sorted by number, and what was declared first is in the middle. The order is in `enum_descriptor_proto()`, `descriptor_proto()`
#        and the last number of each `path()` alone.
# When:  2026-11-30. https://protobuf.dev/programming-guides/proto3/#enum
# Why:   whoever prints a `.proto` of such a descriptor, for a document or a registry of schemas, puts a negative value of an open enum first, which
#        no compiler takes: the first one has to be 0. A schema with a negative value is rare enough for tests not to have one.
# Needs: cargo.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "declared"
version = "0.1.0"
edition = "2021"

[dependencies]
prost-reflect = "=0.16.5"
TOML
cat > src/main.rs <<'RUST'
use prost_reflect::{
    DescriptorPool,
    prost_types::{
        DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
        field_descriptor_proto::{Label, Type},
    },
};

fn value((name, number): (&str, i32)) -> EnumValueDescriptorProto {
    EnumValueDescriptorProto { name: Some(name.into()), number: Some(number), options: None }
}

fn field((name, number): (&str, i32)) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::String.into()),
        ..Default::default()
    }
}

fn main() {
    let file = FileDescriptorProto {
        name: Some("a.proto".into()),
        package: Some("a".into()),
        syntax: Some("proto3".into()),
        enum_type: vec![EnumDescriptorProto {
            name: Some("Level".into()),
            value: [("LEVEL_UNSPECIFIED", 0), ("HIGH", 2), ("LOW", -1), ("MIDDLE", 1)].map(value).into(),
            ..Default::default()
        }],
        message_type: vec![DescriptorProto {
            name: Some("Letter".into()),
            field: [("subject", 7), ("body", 2), ("from", 1)].map(field).into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(file).expect("a valid file");
    let level = pool.get_enum_by_name("a.Level").expect("it is there");
    let letter = pool.get_message_by_name("a.Letter").expect("it is there");
    let names: Vec<_> = level.values().map(|value| value.name().to_owned()).collect();
    println!("values(): {}", names.join(" "));
    let names: Vec<_> = letter.fields().map(|field| field.name().to_owned()).collect();
    println!("fields(): {}", names.join(" "));
    let mut values: Vec<_> = level.values().collect();
    values.sort_by_key(|value| value.path().last().copied());
    let names: Vec<_> = values.iter().map(|value| value.name().to_owned()).collect();
    println!("values by path(): {}", names.join(" "));
}
RUST
cargo run --quiet | tee seen
diff - seen <<'SEEN'
values(): LOW LEVEL_UNSPECIFIED MIDDLE HIGH
fields(): from body subject
values by path(): LEVEL_UNSPECIFIED HIGH LOW MIDDLE
SEEN
