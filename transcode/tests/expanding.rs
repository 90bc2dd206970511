//! Messages that take far more memory as values than as bytes: they are refused before they do.

use std::{fs, sync::LazyLock};

use prost_reflect::DescriptorPool;
use transcode::{ResponseError, Type};

const MIB: usize = 1 << 20;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let folder = format!("{}/tests/proto", env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([folder]).expect("the folder is there");
    compiler.include_imports(true).open_file("every.proto").expect("a valid contract");
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).expect("a complete set")
});

fn named(name: &str) -> Type {
    Type::new(&POOL.get_message_by_name(name).expect("it is there"))
}

/// These bytes as a field of a message.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    prost::encoding::encode_varint((number << 3 | 2).into(), &mut wire);
    prost::encoding::encode_varint(bytes.len() as u64, &mut wire);
    [&wire, bytes].concat()
}

/// The most memory that this process had resident at any time, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel reports it");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// A null in a list, which has four bytes.
const NULL: &[u8] = b"\x0a\x02\x08\0";

// One test: what one of several took, another one would count.
#[test]
fn no_message_takes_more_memory_than_it_may() {
    let (list, every) = (named("google.protobuf.ListValue"), named("every.v1.Every"));
    let any = named("google.protobuf.Any");
    let nulls = NULL.repeat(4 * MIB);
    let in_any = [field(1, b"type.googleapis.com/google.protobuf.ListValue"), field(2, &nulls)].concat();
    let in_turns = [field(1, b"type.googleapis.com/every.v1.Every"), field(2, &field(86, &nulls))].concat();
    // Packed, a number has a byte; a field out of order is nothing for the tables.
    let packed = [field(33, &[1]), field(14, b""), field(33, &vec![1; 16 * MIB])].concat();
    let unknown = field(900, b"").repeat(4 * MIB);
    let unknown = [unknown, field(15, b"").repeat(2)].concat();
    let groups = [0x4b, 0x4c].repeat(4 * MIB);
    drop(list.json(NULL).expect("it has a form"));
    let before = peak();
    for (what, kind, wire) in [
        ("nulls", &list, &nulls),
        ("an Any", &any, &in_any),
        ("an Any of a message", &any, &in_turns),
        ("packed numbers", &every, &packed),
        ("unknown fields", &every, &unknown),
        ("unknown groups", &list, &groups),
    ] {
        let made = kind.json(wire);
        assert!(matches!(made, Err(ResponseError::TooLong)), "{what}: {:?}", made.map(|json| json.len()));
        let grown = (peak() - before) / MIB;
        assert!(grown < 64, "{what}: {grown} MiB more memory");
    }
    // What is taken for as much as may be takes about so much.
    let nulls = NULL.repeat(290_000);
    assert_eq!(list.json(&nulls).expect("it may").len(), 5 * 290_000 + 1);
    let grown = (peak() - before) / MIB;
    eprintln!("{grown} MiB more memory");
    assert!((128..320).contains(&grown), "{grown} MiB more memory");
    assert!(matches!(list.json(&NULL.repeat(310_000)), Err(ResponseError::TooLong)));
}
