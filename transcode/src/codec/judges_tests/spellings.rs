//! Messages in every spelling: right ones, unusual ones, and some that are wrong.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};
use prost_reflect::Kind;
use serde_json::{Value as Json, json};

use crate::{bind::known, fixture::EVERY};

/// The JSON of a tree, in which a text that begins with `#` is a number, spelled as it goes on.
pub(super) fn text(tree: &Json) -> String {
    let mut text = String::new();
    let json = tree.to_string();
    let mut rest = json.as_str();
    while let Some((before, after)) = rest.split_once("\"#") {
        let (number, others) = after.split_once('"').expect("a text has an end");
        text.extend([before, number]);
        rest = others;
    }
    text + rest
}

fn one_of(texts: &[&str]) -> BoxedStrategy<Json> {
    select(texts.iter().map(|text| Json::from(*text)).collect::<Vec<_>>()).boxed()
}

fn integers(kind: &Kind) -> BoxedStrategy<Json> {
    let odd = one_of(&[
        "#1e3",
        "1e3",
        "#1.0",
        "1.0",
        "#10e-1",
        "-0",
        "#-0",
        "#-0.0",
        "007",
        "+1",
        "",
        " 1",
        "1.5",
        "#1.5",
        "0x1",
        "1_0",
        "#0.99999999999999999999",
        "#1e400",
        "inf",
    ]);
    let large = one_of(&[
        "#1e18",
        "1e18",
        "#9007199254740993.0",
        "9007199254740993.0",
        "#9007199254740993",
        "#1e19",
        "18446744073709551615",
        "18446744073709551616",
        "#18446744073709551615",
        "#-9223372036854775808",
        "-9223372036854775809",
        "#4294967296",
    ]);
    let plain = match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => any::<i32>().prop_map(Json::from).boxed(),
        Kind::Uint32 | Kind::Fixed32 => any::<u32>().prop_map(Json::from).boxed(),
        Kind::Uint64 | Kind::Fixed64 => any::<u64>().prop_map(|n| n.to_string().into()).boxed(),
        _ => any::<i64>().prop_map(|n| n.to_string().into()).boxed(),
    };
    prop_oneof![20 => plain, 2 => odd, 2 => large].boxed()
}

fn scalar(kind: &Kind) -> BoxedStrategy<Json> {
    match kind {
        Kind::Double | Kind::Float => prop_oneof![
            8 => any::<f32>().prop_map(|value| json!(value)),
            4 => any::<f64>().prop_map(|value| json!(value)),
            4 => one_of(&["NaN", "Infinity", "-Infinity", "#-0.0", "#-0", "-0", "0", "1e3", "#0.1", "#5e-324", "#1e-400"]),
            1 => one_of(&["#1e39", "#3.4028235e38", "#3.5e38", "inf", "nan", "+1", "", "1.", ".5", "#1e308", "1e400", "0x1", "1_0"]),
        ]
        .boxed(),
        Kind::Bool => prop_oneof![
            8 => any::<bool>().prop_map(Json::from),
            1 => one_of(&["true", "#1", "#0"]),
        ]
        .boxed(),
        Kind::String => prop_oneof![
            8 => "[a-z\"\\\\\u{0}-\u{20}é€😀]{0,12}".prop_map(Json::from),
            1 => Just(json!(1)),
        ]
        .boxed(),
        Kind::Bytes => one_of(&["", "AQI=", "_-8", "AQ", "AAAA", "/+8=", "AQ==", "A", "*"]),
        Kind::Enum(descriptor) if descriptor.name() == "NullValue" => {
            prop_oneof![4 => Just(Json::Null), 1 => one_of(&["NULL_VALUE", "#0", "#1", "x"])].boxed()
        }
        Kind::Enum(_) => one_of(&[
            "RED", "CRIMSON", "GREEN", "BELOW", "COLOR_UNSPECIFIED", "#1", "#-1", "#77", "#1.0", "#1e0", "#1.5", "1", "BLUE", "red",
        ]),
        Kind::Message(message) => well_known(message.name()),
        kind => integers(kind),
    }
}

fn well_known(name: &str) -> BoxedStrategy<Json> {
    let values = vec![
        json!(null),
        json!(1.5),
        json!("x"),
        json!([1, {"a": [true]}]),
        json!({"b": {"c": null}}),
        json!("#-0.0"),
    ];
    match name {
        "Timestamp" => prop_oneof![
            6 => (-62_135_596_800..253_402_300_799_i64, select(vec![0, 5_000_000, 7_000, 1]))
                .prop_map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos }.to_string().into()),
            2 => one_of(&[
                "2024-02-29T12:00:00.5+01:00", "1969-12-31T23:59:59.999999999-00:00", "9999-12-31T23:59:59.999999999Z",
                "2024-01-01T00:00:00.1234567891Z", "2016-12-31T23:59:60Z", "2024-01-01t00:00:00Z", "2024-01-01T00:00:00z",
                "2024-01-01T00:00:00", "2023-02-29T00:00:00Z", "0000-01-01T00:00:00Z", "2024-01-01T24:00:00Z", "", "2024-01-01T00:00Z",
            ]),
        ]
        .boxed(),
        "Duration" => one_of(&[
            "1.5s", "-3s", "0s", "-0.000000001s", "315576000000s", "-315576000000.5s", "1.1234567891s", "315576000001s", "1", "+1s",
            ".5s", "1.s", "s", "1e3s",
        ]),
        "FieldMask" => one_of(&["a,bC.dE", "", "aBool", "a_b", "a,", "bC1"]),
        "Value" => select(values).boxed(),
        "ListValue" => vec(select(values), 0..3).prop_map(Json::from).boxed(),
        "Struct" => select(vec![json!({}), json!({"a": 1, "b": [null, {"c": "d"}]}), json!([])]).boxed(),
        "Any" => select(vec![
            json!({"@type": "type.googleapis.com/every.v1.Every", "aString": "x", "by_int32": {"1": 2}, "wrappedDouble": "NaN"}),
            json!({"@type": "type.googleapis.com/google.protobuf.Duration", "value": "2s"}),
            json!({"@type": "type.googleapis.com/google.protobuf.Empty", "value": {}}),
            json!({"@type": "type.googleapis.com/google.protobuf.Empty"}),
            json!({"@type": "type.googleapis.com/google.protobuf.Int64Value", "value": "7"}),
            json!({"@type": "type.googleapis.com/nope"}),
            json!({"value": 1}),
            json!({}),
        ])
        .boxed(),
        "Empty" => select(vec![json!({}), json!({"a": 1})]).boxed(),
        wrapper => {
            let wrapper = EVERY.parent_pool().get_message_by_name(&format!("google.protobuf.{wrapper}"));
            let value = known::wrapped(&wrapper.expect("it is imported")).expect("a wrapper");
            scalar(&value.kind())
        }
    }
}

fn value(kind: &Kind, depth: u32) -> BoxedStrategy<Json> {
    let fits = match kind {
        Kind::Message(inner) if inner.name() == "Every" => message(depth),
        kind => scalar(kind),
    };
    prop_oneof![80 => fits, 1 => select(vec![Json::Null, json!([]), json!({"x": 1}), json!(true)])].boxed()
}

fn map(key: &Kind, kind: &Kind, depth: u32) -> BoxedStrategy<Json> {
    let key = match key {
        Kind::Bool => select(vec!["true", "false", "1"]).prop_map(str::to_owned).boxed(),
        Kind::String => "[a\"é]{0,2}".boxed(),
        _ => prop_oneof![8 => (0..9_u8).prop_map(|key| key.to_string()), 1 => select(vec!["-1", "01", "", "x"]).prop_map(str::to_owned)]
            .boxed(),
    };
    let entries = vec((key, value(kind, depth)), 0..3);
    entries.prop_map(|entries| json!(entries.into_iter().collect::<BTreeMap<_, _>>())).boxed()
}

/// An object whose fields are as deep as this.
pub(super) fn message(depth: u32) -> BoxedStrategy<Json> {
    if depth == 0 {
        return Just(json!({})).boxed();
    }
    let fields: Vec<_> = EVERY.fields().collect();
    let member = select(fields).prop_flat_map(move |field| {
        let name = select(vec![field.name().to_owned(), field.json_name().to_owned()]);
        let value = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                map(&entry.map_entry_key_field().kind(), &entry.map_entry_value_field().kind(), depth - 1)
            }
            kind if field.is_list() => vec(value(&kind, depth - 1), 0..3).prop_map(Json::from).boxed(),
            kind => value(&kind, depth - 1),
        };
        (name, value)
    });
    vec(member, 0..4).prop_map(|members| Json::Object(members.into_iter().collect())).boxed()
}
