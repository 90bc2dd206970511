//! Requests that take far more memory as values than as text: they are refused before they do.

use std::{fmt::Write as _, fs};

use prost_reflect::DescriptorPool;
use transcode::{RequestErrorKind, Type};

const MIB: usize = 1 << 20;

/// The most memory that this process had resident at any time, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel reports it");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// An array that has a value so often.
fn array(value: &str, times: usize) -> String {
    format!("[{}]", vec![value; times].join(","))
}

// One test: what one of several took, another one would count.
#[test]
fn no_request_takes_more_memory_than_it_may() {
    let folder = format!("{}/tests/proto", env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([folder]).expect("the folder is there");
    compiler.include_imports(true).open_file("every.proto").expect("a valid contract");
    let pool = compiler.encode_file_descriptor_set();
    let pool = DescriptorPool::decode(pool.as_slice()).expect("a complete set");
    let named = |name: &str| Type::new(&pool.get_message_by_name(name).expect("it is there"));
    let (list, every) = (named("google.protobuf.ListValue"), named("every.v1.Every"));
    let any = named("google.protobuf.Any");
    let nulls = array("null", MIB);
    let names = (0..2 * MIB).fold(String::new(), |mut names, number| {
        write!(names, ",\"{number:x}\":0").expect("there is room");
        names
    });
    let url = "\"@type\":\"type.googleapis.com/google.protobuf.ListValue\"";
    // Not for the tables: a field by both of its names.
    let twice = "\"anInt32\":1,\"an_int32\":1";
    let before = peak();
    for (what, kind, json) in [
        ("nulls", &list, nulls.clone()),
        ("nulls in a field", &every, format!("{{\"list\":{nulls}}}")),
        ("nulls in fields", &every, format!("{{\"allValues\":{nulls},{twice}}}")),
        ("objects", &list, array("{}", MIB)),
        ("an Any", &any, format!("{{{url},\"value\":{nulls}}}")),
        ("numbers", &every, format!("{{\"int32s\":{},{twice}}}", array("0", 8 * MIB))),
        ("names", &every, format!("{{\"object\":{{\"x\":0{names}}}}}")),
        ("a mask", &named("google.protobuf.FieldMask"), format!("\"{}\"", vec!["a"; 4 * MIB].join(","))),
    ] {
        let made = kind.wire(json.as_bytes(), false);
        let kind = made.as_ref().err().map(|error| error.kind);
        assert_eq!(kind, Some(RequestErrorKind::TooLarge), "{what}: {:?}", made.map(|wire| wire.len()));
        let grown = (peak() - before) / MIB;
        assert!(grown < 400, "{what}: {grown} MiB more memory");
    }
    // What an edge reads of a body by default may be of nulls alone.
    let wire = list.wire(array("null", MIB / 5).as_bytes(), false).expect("it may");
    assert_eq!(wire.len(), 4 * (MIB / 5));
}
