//! Descriptors that no compiler has made: whatever is wrong with them, reading them and calling what is left of them does no harm.

use std::{panic::resume_unwind, thread};

use bytes::Bytes;
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, MessageOptions, OneofDescriptorProto,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::{STACK_BYTES, inputs};
use crate::{Input, Routes, fixture, request_from_json, response_to_json};

/// A set takes as long as many inputs of another target.
const SHARE: u64 = 16;

/// A set of files, each as it is encoded: options of others stay.
#[derive(Clone, PartialEq, prost::Message)]
struct Set {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    files: Vec<Bytes>,
}

/// The services of a file, with the option that prost-types passes over.
#[derive(Clone, PartialEq, prost::Message)]
struct Services {
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<Method>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    input: String,
    #[prost(string, tag = "3")]
    output: String,
    #[prost(message, optional, tag = "4")]
    options: Option<Options>,
    #[prost(bool, tag = "6")]
    streams: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Options {
    #[prost(message, optional, tag = "72295728")]
    http: Option<Rule>,
}

/// A `google.api.HttpRule`.
#[derive(Clone, PartialEq, prost::Message)]
struct Rule {
    #[prost(string, tag = "2")]
    get: String,
    #[prost(string, tag = "4")]
    post: String,
    #[prost(string, tag = "7")]
    body: String,
}

const TYPES: [&str; 9] =
    [".x.M", ".x.N", ".x.E", ".x.M.Inner", "M", "", ".nowhere.Z", ".x", ".google.api.HttpRule"];

const NAMES: [&str; 8] = ["M", "N", "E", "a", "b", "", "a.b", "\u{e9}"];

fn one<'c>(choice: &[&'c str], dice: &mut StdRng) -> &'c str {
    choice.choose(dice).copied().unwrap_or_default()
}

fn field(name: &str, number: i32, kind: i32, type_name: &str) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(1),
        r#type: Some(kind),
        type_name: (!type_name.is_empty()).then(|| type_name.to_owned()),
        json_name: Some(name.to_owned()),
        ..FieldDescriptorProto::default()
    }
}

/// A file with which nothing is wrong: two messages that hold each other, a map, a choice and an enum.
fn right() -> FileDescriptorProto {
    let named = |name: &str, fields: Vec<FieldDescriptorProto>| DescriptorProto {
        name: Some(name.to_owned()),
        field: fields,
        ..DescriptorProto::default()
    };
    let entry = DescriptorProto {
        options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
        ..named("ByEntry", vec![field("key", 1, 9, ""), field("value", 2, 11, ".x.N")])
    };
    let many = |field: FieldDescriptorProto| FieldDescriptorProto { label: Some(3), ..field };
    let chosen = |field: FieldDescriptorProto| FieldDescriptorProto { oneof_index: Some(0), ..field };
    let fields = vec![
        field("a", 1, 9, ""),
        many(field("b", 2, 5, "")),
        many(field("by", 3, 11, ".x.M.ByEntry")),
        chosen(field("c", 4, 3, "")),
        chosen(field("d", 5, 11, ".x.N")),
        field("e", 6, 14, ".x.E"),
    ];
    let inner = named("Inner", vec![field("a", 1, 11, ".x.M")]);
    let choice = OneofDescriptorProto { name: Some("choice".into()), ..OneofDescriptorProto::default() };
    let m =
        DescriptorProto { nested_type: vec![entry, inner], oneof_decl: vec![choice], ..named("M", fields) };
    let value = |(name, number): (&str, i32)| EnumValueDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        ..EnumValueDescriptorProto::default()
    };
    let e = EnumDescriptorProto {
        name: Some("E".into()),
        value: [("ZERO", 0), ("ONE", 1)].map(value).into(),
        ..EnumDescriptorProto::default()
    };
    FileDescriptorProto {
        name: Some("x.proto".into()),
        package: Some("x".into()),
        syntax: Some("proto3".into()),
        dependency: vec!["google/api/annotations.proto".into()],
        message_type: vec![m, named("N", vec![field("a", 1, 11, ".x.M"), field("b", 2, 12, "")])],
        enum_type: vec![e],
        ..FileDescriptorProto::default()
    }
}

fn services(dice: &mut StdRng) -> Services {
    let method = |number: usize| {
        let path = format!("/{number}/{}", one(&["{a}", "{d.b}", "{nope}", "**", "{e}", "x", "{by}"], dice));
        let body = one(&["", "*", "d", "b", "by", "nope"], dice).to_owned();
        let (get, post) = if body.is_empty() { (path, String::new()) } else { (String::new(), path) };
        let of = |dice: &mut StdRng| {
            let name = if dice.random_bool(0.8) { ".x.M" } else { one(&TYPES, dice) };
            name.to_owned()
        };
        Method {
            name: format!("Call{number}"),
            input: of(dice),
            output: of(dice),
            options: Some(Options { http: Some(Rule { get, post, body }) }),
            streams: dice.random_bool(0.2),
        }
    };
    Services { services: vec![Service { name: "S".into(), methods: (0..4).map(method).collect() }] }
}

/// Changes one thing in a message of these, or in one inside of it.
fn change(messages: &mut [DescriptorProto], dice: &mut StdRng) {
    if messages.is_empty() {
        return;
    }
    let at = dice.random_range(0..messages.len());
    let message = &mut messages[at];
    if dice.random_bool(0.3) && !message.nested_type.is_empty() {
        return change(&mut message.nested_type, dice);
    }
    match dice.random_range(0..12) {
        0 => message.name = Some(one(&NAMES, dice).to_owned()),
        1 => {
            let map_entry = Some(dice.random());
            message.options = Some(MessageOptions { map_entry, ..MessageOptions::default() });
        }
        2 => {
            // As deep as is read, and deeper.
            for _ in 0..dice.random_range(1..120) {
                let inner = message.clone();
                *message = DescriptorProto {
                    name: Some("M".into()),
                    nested_type: vec![inner],
                    ..DescriptorProto::default()
                };
            }
        }
        3 => message.oneof_decl.clear(),
        4 => {
            let name = Some(one(&NAMES, dice).to_owned());
            message.enum_type.push(EnumDescriptorProto { name, ..EnumDescriptorProto::default() });
        }
        5 => message.field.extend_from_within(..),
        6 => message.field.clear(),
        _ => {
            let at = dice.random_range(0..=message.field.len());
            if let Some(field) = message.field.get_mut(at) {
                change_field(field, dice);
            }
        }
    }
}

fn change_field(field: &mut FieldDescriptorProto, dice: &mut StdRng) {
    const NUMBERS: [i32; 9] = [i32::MIN, -1, 0, 1, 2, 19_000, 536_870_911, 536_870_912, i32::MAX];
    match dice.random_range(0..9) {
        0 => field.number = NUMBERS.choose(dice).copied(),
        1 => field.r#type = Some(dice.random_range(-1..20)),
        2 => field.r#type = None,
        3 => field.type_name = Some(one(&TYPES, dice).to_owned()),
        4 => field.label = Some(dice.random_range(-1..5)),
        5 => field.oneof_index = Some(dice.random_range(-1..3)),
        6 => field.name = Some(one(&NAMES, dice).to_owned()),
        7 => field.json_name = Some(one(&NAMES, dice).to_owned()),
        _ => field.proto3_optional = Some(true),
    }
}

fn changed(dice: &mut StdRng) -> FileDescriptorProto {
    let mut file = right();
    for _ in 0..dice.random_range(0..4) {
        match dice.random_range(0..16) {
            0 => file.syntax = Some(one(&["", "proto2", "proto3", "editions", "x"], dice).to_owned()),
            1 => file.dependency.push(one(&["x.proto", "nowhere.proto", ""], dice).to_owned()),
            2 => file.public_dependency.push(dice.random_range(-1..3)),
            3 => file.package = Some(one(&["", "y", "x.M", "."], dice).to_owned()),
            4 => file.enum_type.clear(),
            5 => file.message_type.extend_from_within(..),
            _ => change(&mut file.message_type, dice),
        }
    }
    file
}

/// Reads a set, and calls every method that is left of it.
fn check(set: &Bytes, google: &Bytes) -> usize {
    let Ok((routes, _)) = Routes::of_foreign(set, google, &|_| true) else { return 0 };
    for route in routes.list() {
        for body in [&b""[..], br#"{"a":"x","b":[1],"by":{"k":{"b":"AQ=="}},"d":{"a":{"e":"ONE"}}}"#] {
            let captures = route.variables.iter().map(|_| Ok("x".to_owned())).collect();
            let _read_or_refused =
                request_from_json(route, &Input { captures, body, ..Input::default() }, false);
        }
        for wire in [&b""[..], b"\x0a\x01x\x10\x01\x2a\x03\x12\x01a\x30\x01"] {
            let _printed_or_not = response_to_json(route, Bytes::from_static(wire));
        }
    }
    routes.list().len()
}

#[test]
fn whatever_is_wrong_with_them() {
    let google = Bytes::from(fixture::shapes_set());
    let all = move || {
        let mut routes = 0;
        for number in 0..inputs() / SHARE {
            let dice = &mut StdRng::seed_from_u64(number);
            let file = [changed(dice).encode_to_vec(), services(dice).encode_to_vec()].concat();
            let set = Set { files: vec![file.into()] }.encode_to_vec().into();
            routes += check(&set, &google);
        }
        // Not all of them leave nothing to be called.
        assert!(routes as u64 >= inputs() / SHARE / 8, "{routes} routes");
    };
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(all).expect("a thread");
    thread.join().unwrap_or_else(|panic| resume_unwind(panic));
}
