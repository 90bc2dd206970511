//! ProtoJSON to the last digit (<https://protobuf.dev/programming-guides/json>), on the flat tables and by reflection alike.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;
use transcode::Type;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let folder = format!("{}/tests/proto", env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([folder]).expect("the folder is there");
    compiler.include_imports(true).open_file("every.proto").expect("a valid contract");
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).expect("a complete set")
});

fn named(name: &str) -> Type {
    Type::new(&POOL.get_message_by_name(name).expect("it is there"))
}

static EVERY: LazyLock<Type> = LazyLock::new(|| named("every.v1.Every"));

/// An integer that is spelled as no table reads it, and its field: one that is read so sends all of the text by way of reflection.
const BY_REFLECTION: (&str, &[u8]) = (r#""loose_int32s":[7.0],"#, &[0x80, 0x03, 7]);

/// The message of a text, which both ways read as the same one.
fn read(text: &str) -> Result<Vec<u8>, String> {
    let wire = EVERY.wire(text.as_bytes(), false).map_err(|error| error.to_string());
    let other = text.replacen('{', &format!("{{{}", BY_REFLECTION.0), 1).replace(",}", "}");
    let by_reflection = EVERY.wire(other.as_bytes(), false).map_err(|error| error.to_string());
    match (&wire, by_reflection) {
        (Ok(wire), Ok(other)) => assert_eq!(print(wire), print(&without_marker(other)), "{text}"),
        (Ok(_), Err(problem)) => panic!("{text}: reflection says {problem}"),
        (Err(_), other) => drop(other.expect_err(text)),
    }
    wire
}

fn without_marker(wire: Vec<u8>) -> Vec<u8> {
    let marker = BY_REFLECTION.1;
    let at = wire.windows(marker.len()).position(|part| part == marker).expect("the other field is there");
    [&wire[..at], &wire[at + marker.len()..]].concat()
}

/// The text of a message, which both ways print as the same one.
fn print(wire: &[u8]) -> String {
    let text = |wire: &[u8]| EVERY.json(wire).map(|json| String::from_utf8(json).expect("JSON is UTF-8"));
    // A group nobody knows, which no table passes over.
    let other = [wire, &[0xfb, 0x7f, 0xfc, 0x7f]].concat();
    let (text, other) = (text(wire).expect("has a JSON form"), text(&other).expect("has a JSON form"));
    assert_eq!(text, other);
    text
}

/// Values that a field reads, and how it prints them; `""` is a field that is not there.
#[track_caller]
fn reads(field: &str, values: &[(&str, &str)]) {
    for (value, printed) in values {
        let wire = read(&format!("{{\"{field}\":{value}}}"))
            .unwrap_or_else(|problem| panic!("{field} {value}: {problem}"));
        let expected =
            if printed.is_empty() { "{}".to_owned() } else { format!("{{\"{field}\":{printed}}}") };
        assert_eq!(print(&wire), expected, "{field} {value}");
        // What is printed is read as the same.
        let again = read(&expected).unwrap_or_else(|problem| panic!("{field} {printed}: {problem}"));
        assert_eq!(print(&again), expected, "{field} {printed}");
    }
}

#[track_caller]
fn refuses(field: &str, values: &[&str]) {
    for value in values {
        read(&format!("{{\"{field}\":{value}}}")).expect_err(&format!("{field} {value}"));
    }
}

#[test]
fn integers_are_decimals_in_every_spelling() {
    for field in ["anInt64", "aSint64", "anSfixed64", "aUint64", "aFixed64", "wrappedInt64", "wrappedUint64"]
    {
        reads(
            field,
            &[
                ("1e18", "\"1000000000000000000\""),
                ("\"1e18\"", "\"1000000000000000000\""),
                ("9007199254740993.0", "\"9007199254740993\""),
                ("\"9007199254740993.0\"", "\"9007199254740993\""),
                ("9007199254740993", "\"9007199254740993\""),
                ("\"1e3\"", "\"1000\""),
                ("\"1.0\"", "\"1\""),
                ("10e-1", "\"1\""),
            ],
        );
        let odd = [
            "0.99999999999999999999",
            "999999999999.00001",
            "\"999999999999.00001\"",
            "1e-1",
            "1e20",
            "1e300",
            "\"+1\"",
            "\"\"",
            "\" 1\"",
            "\"1 \"",
            "\"0x1\"",
            "\"1.\"",
            "\"1e\"",
            "true",
            "[]",
            "{}",
        ];
        refuses(field, &odd);
    }
    for field in ["aUint64", "aFixed64", "wrappedUint64"] {
        reads(
            field,
            &[
                ("1e19", "\"10000000000000000000\""),
                ("\"18446744073709551615\"", "\"18446744073709551615\""),
                ("18446744073709551615.0", "\"18446744073709551615\""),
            ],
        );
        refuses(field, &["18446744073709551616", "\"18446744073709551616\"", "-1", "\"-1e0\""]);
    }
    for field in ["anInt64", "wrappedInt64"] {
        reads(field, &[("-9223372036854775808.0", "\"-9223372036854775808\"")]);
        refuses(field, &["9223372036854775808", "\"9223372036854775808.0\"", "1e19"]);
    }
    for field in ["anInt32", "aUint32", "wrappedInt32", "wrappedUint32"] {
        reads(
            field,
            &[("2147483647.0", "2147483647"), ("\"2.147483647e9\"", "2147483647"), ("\"1e3\"", "1000")],
        );
        refuses(field, &["4294967296", "4294967296.0", "1.5", "\"1.5\""]);
    }
}

#[test]
fn doubles_and_floats_are_numbers_or_three_names() {
    for field in ["aDouble", "maybeDouble", "wrappedDouble"] {
        reads(
            field,
            &[
                ("\"NaN\"", "\"NaN\""),
                ("\"Infinity\"", "\"Infinity\""),
                ("\"-Infinity\"", "\"-Infinity\""),
                ("\"1.5e1\"", "15.0"),
                ("0.1", "0.1"),
                ("5e-324", "5e-324"),
                ("1e-400", if field == "aDouble" { "" } else { "0.0" }),
            ],
        );
        refuses(
            field,
            &[
                "\"inf\"",
                "\"nan\"",
                "\"1e400\"",
                "\"infinity\"",
                "\"+1\"",
                "\"\"",
                "\"1.\"",
                "\".5\"",
                "\"-.5\"",
                "true",
            ],
        );
    }
    for field in ["aFloat", "wrappedFloat"] {
        reads(
            field,
            &[
                ("\"NaN\"", "\"NaN\""),
                ("\"-Infinity\"", "\"-Infinity\""),
                ("3.4028235e+38", "3.4028235e+38"),
                ("\"3.4028235e+38\"", "3.4028235e+38"),
                ("0.1", "0.1"),
                ("1.00000005960464477539062500000000001", "1.0000001"),
            ],
        );
        refuses(field, &["1e39", "\"1e39\"", "3.40282356779733661638e38", "\"inf\""]);
    }
    reads("wrappedDoubles", &[("[\"NaN\",1.5,\"-Infinity\"]", "[\"NaN\",1.5,\"-Infinity\"]")]);
    reads("wrappedFloats", &[("{\"a\":\"Infinity\"}", "{\"a\":\"Infinity\"}")]);
}

#[test]
fn minus_zero_is_no_default() {
    for field in ["aDouble", "aFloat", "maybeDouble", "wrappedDouble", "wrappedFloat"] {
        reads(field, &[("-0.0", "-0.0"), ("-0", "-0.0"), ("\"-0\"", "-0.0"), ("-0e7", "-0.0")]);
    }
    reads("byUint64", &[("{\"1\":-0.0}", "{\"1\":-0.0}")]);
    reads("inner", &[("{\"aDouble\":-0.0}", "{\"aDouble\":-0.0}")]);
    reads("anInt32", &[("-0.0", ""), ("-0", "")]);
    reads("anything", &[("-0.0", "-0.0")]);
}

#[test]
fn enums_are_names_or_integers() {
    reads(
        "color",
        &[
            ("\"GREEN\"", "\"GREEN\""),
            ("2", "\"GREEN\""),
            ("2.0", "\"GREEN\""),
            ("2e0", "\"GREEN\""),
            ("77", "77"),
            ("0", ""),
        ],
    );
    refuses("color", &["1.5", "2147483648", "\"BLUE\"", "true"]);
    reads("fourth", &[("null", "null"), ("0", "null"), ("\"NULL_VALUE\"", "null"), ("0.0", "null")]);
    reads("nothings", &[("[null,0,\"NULL_VALUE\"]", "[null,null,null]")]);
    refuses("nothing", &["1", "\"\"", "false"]);
}

#[test]
fn times_and_durations_are_what_fits() {
    reads(
        "at",
        &[
            ("\"2024-02-29T12:00:00.5+01:00\"", "\"2024-02-29T11:00:00.500Z\""),
            ("\"9999-12-31T23:59:59.999999999Z\"", "\"9999-12-31T23:59:59.999999999Z\""),
        ],
    );
    let odd = [
        "\"2024-01-01T00:00:00.1234567891Z\"",
        "\"2024-01-01T23:59:60Z\"",
        "\"2024-01-01t00:00:00Z\"",
        "\"2024-01-01T00:00:00\"",
        "\"\"",
        "0",
    ];
    refuses("at", &odd);
    reads(
        "lasting",
        &[("\"-0.5s\"", "\"-0.500s\""), ("\"1.000000001s\"", "\"1.000000001s\""), ("\"0s\"", "\"0s\"")],
    );
    refuses("lasting", &["\"1.1234567891s\"", "\"315576000001s\"", "\"1\"", "\"+1s\"", "1"]);
}

#[test]
fn an_any_of_empty_needs_no_value() {
    let empty = "{\"@type\":\"type.googleapis.com/google.protobuf.Empty\",\"value\":{}}";
    reads(
        "any",
        &[("{\"@type\":\"type.googleapis.com/google.protobuf.Empty\"}", empty), (empty, empty), ("{}", "{}")],
    );
    let of = |name: &str, rest: &str| format!("{{\"@type\":\"type.googleapis.com/{name}\"{rest}}}");
    for (name, rest) in [
        ("google.protobuf.DoubleValue", ",\"value\":\"NaN\""),
        ("google.protobuf.FloatValue", ",\"value\":-0.0"),
        ("google.protobuf.Int64Value", ",\"value\":\"9007199254740993\""),
        ("google.protobuf.Value", ",\"value\":null"),
        ("google.protobuf.Any", ",\"value\":{}"),
        ("every.v1.Every", ",\"aDouble\":-0.0,\"wrappedDouble\":\"Infinity\""),
        ("every.v1.Every", ""),
    ] {
        let any = of(name, rest);
        reads("any", &[(&any, &any)]);
    }
    reads(
        "any",
        &[(
            "{\"anInt64\":1e18,\"@type\":\"type.googleapis.com/every.v1.Every\"}",
            &of("every.v1.Every", ",\"anInt64\":\"1000000000000000000\""),
        )],
    );
    for (name, rest) in [
        ("google.protobuf.Duration", ""),
        ("google.protobuf.Empty", ",\"value\":{\"a\":1}"),
        ("google.protobuf.Empty", ",\"a\":1"),
        ("google.protobuf.Int64Value", ",\"value\":0.99999999999999999999"),
        ("every.v1.Every", ",\"value\":{}"),
        ("every.v1.Nothing", ""),
    ] {
        refuses("any", &[&of(name, rest)]);
    }
    refuses("any", &["{\"@type\":\"every.v1.Every\"}", "{\"@type\":1}", "{\"value\":{}}", "[]", "\"\""]);
}

#[test]
fn structs_hold_any_json() {
    reads(
        "object",
        &[
            ("{\"a\":[1,null,{\"b\":\"c\"}],\"d\":-1.5e3}", "{\"a\":[1.0,null,{\"b\":\"c\"}],\"d\":-1500.0}"),
            ("{}", "{}"),
        ],
    );
    reads("anything", &[("null", "null"), ("[]", "[]"), ("{}", "{}"), ("true", "true"), ("\"\"", "\"\"")]);
    reads("list", &[("[[],{}]", "[[],{}]")]);
    refuses("object", &["[]", "1", "\"\""]);
    refuses("list", &["{}", "1"]);
}

#[test]
fn masks_are_in_lower_camel_case() {
    reads("mask", &[("\"a,bC.dE\"", "\"a,bC.dE\""), ("\"\"", "\"\"")]);
    refuses("mask", &["\"b_c\"", "1", "[]"]);
    // `a_1` and `aB` would not be what is read.
    for path in [&b"a_1"[..], b"aB", b"a__b", b"a_"] {
        let length = |text: &[u8]| u8::try_from(text.len()).expect("short");
        let mask = [&[0x0a, length(path)], path].concat();
        let wire = [&[0x9a, 0x05, length(&mask)], &mask[..]].concat();
        EVERY.json(&wire).expect_err("no way back");
    }
}

#[test]
fn null_is_absence_but_where_it_is_a_value() {
    for field in [
        "anInt32",
        "aString",
        "inner",
        "int32s",
        "byInt32",
        "at",
        "wrappedInt64",
        "any",
        "object",
        "mask",
        "color",
    ] {
        reads(field, &[("null", "")]);
    }
    for (field, value) in
        [("int32s", "[null]"), ("times", "[null]"), ("wrappedDoubles", "[null]"), ("byInt32", "{\"1\":null}")]
    {
        refuses(field, &[value]);
    }
}

#[test]
fn keys_of_maps_are_texts_of_their_kind() {
    reads("byBool", &[("{\"true\":\"x\"}", "{\"true\":\"x\"}")]);
    reads("byInt64", &[("{\"1e3\":\"x\"}", "{\"1000\":\"x\"}")]);
    refuses("byBool", &["{\"1\":\"x\"}", "{\"True\":\"x\"}", "{\"\":\"x\"}"]);
    refuses("byInt32", &["{\"1.5\":1}", "{\"\":1}", "{\"1\":1,\"01\":2}"]);
}

#[test]
fn every_well_known_type_can_be_the_whole_text() {
    for (name, texts) in [
        ("Struct", &["{\"a\":null}", "{}"][..]),
        ("Value", &["null", "1.5", "\"x\"", "[true]", "{\"a\":1.0}"]),
        ("ListValue", &["[]", "[null,{\"a\":[]}]"]),
        ("Any", &["{}", "{\"@type\":\"type.googleapis.com/every.v1.Every\",\"aBool\":true}"]),
        ("Empty", &["{}"]),
        ("Timestamp", &["\"1970-01-01T00:00:00Z\""]),
        ("Duration", &["\"-1.500s\""]),
        ("FieldMask", &["\"a,bC\"", "\"\""]),
        ("DoubleValue", &["\"NaN\"", "-0.0", "0.0"]),
        ("FloatValue", &["\"-Infinity\"", "3.4028235e+38"]),
        ("Int64Value", &["\"-9223372036854775808\"", "\"0\""]),
        ("UInt64Value", &["\"18446744073709551615\""]),
        ("Int32Value", &["-1"]),
        ("UInt32Value", &["4294967295"]),
        ("BoolValue", &["false", "true"]),
        ("StringValue", &["\"\"", "\"é\""]),
        ("BytesValue", &["\"/+8=\""]),
    ] {
        let kind = named(&format!("google.protobuf.{name}"));
        for text in texts {
            let wire =
                kind.wire(text.as_bytes(), false).unwrap_or_else(|error| panic!("{name} {text}: {error}"));
            assert_eq!(
                String::from_utf8(kind.json(&wire).expect("has a JSON form")).as_deref(),
                Ok(*text),
                "{name}"
            );
        }
    }
}
