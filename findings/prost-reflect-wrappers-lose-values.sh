#!/usr/bin/env bash
# prost-reflect 0.16.5 (crates.io): JSON of the wrapper types loses values that the types in them keep.
#
# Guess: a DoubleValue is printed and read as the double in it, a UInt64Value as the uint64: that is what ProtoJSON says of wrappers.
# Seen:  a DoubleValue or FloatValue of NaN or an infinity is printed as null, which says that there is none, while a double field prints
#        "NaN"; a UInt64Value of 18446744073709551616 is read as 18446744073709551615 instead of refused; "1e3" in quotes, an integer to an
#        int64 field, is none to an Int64Value; the largest float, 3.4028235e+38, is refused by FloatValue.
# When:  2026-11-29. https://protobuf.dev/programming-guides/json/
# Why:   optional numbers are wrappers in many older contracts: a gateway on this library answers that a value is absent where it is NaN, and
#        tests that take the library as their oracle cannot see it.
# Needs: cargo.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "wrappers"
version = "0.1.0"
edition = "2021"

[dependencies]
prost-reflect = { version = "=0.16.5", features = ["serde"] }
serde_json = { version = "1", features = ["float_roundtrip"] }
TOML
cat > src/main.rs <<'RUST'
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};

fn wrapper(name: &str) -> MessageDescriptor {
    DescriptorPool::global().get_message_by_name(&format!("google.protobuf.{name}")).expect("a well-known type")
}

fn printed(name: &str, value: Value) -> String {
    let mut message = DynamicMessage::new(wrapper(name));
    message.set_field_by_name("value", value);
    serde_json::to_string(&message).expect("JSON")
}

fn read(name: &str, text: &str) -> String {
    let read = DynamicMessage::deserialize(wrapper(name), &mut serde_json::Deserializer::from_str(text));
    read.map_or("refused".to_owned(), |message| message.to_string())
}

fn main() {
    println!("DoubleValue of NaN is printed as {}", printed("DoubleValue", Value::F64(f64::NAN)));
    println!("FloatValue of -Infinity is printed as {}", printed("FloatValue", Value::F32(f32::NEG_INFINITY)));
    for (name, text) in [
        ("DoubleValue", "\"NaN\""),
        ("UInt64Value", "18446744073709551616"),
        ("Int64Value", "1e3"),
        ("Int64Value", "\"1e3\""),
        ("FloatValue", "3.4028235e+38"),
    ] {
        println!("{name} {text} is read as {}", read(name, text));
    }
}
RUST
cargo run --quiet | tee seen
diff - seen <<'SEEN'
DoubleValue of NaN is printed as null
FloatValue of -Infinity is printed as null
DoubleValue "NaN" is read as value:NaN
UInt64Value 18446744073709551616 is read as value:18446744073709551615
Int64Value 1e3 is read as value:1000
Int64Value "1e3" is read as refused
FloatValue 3.4028235e+38 is read as refused
SEEN
