//! Our walk against prost-reflect's reader: what we accept, it accepts too, and both mean the same.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value as Json, json};

use super::*;
use crate::{bind::message_of, fixture, reflect::print};

fn leaf() -> impl Strategy<Value = Json> {
    let odd = select(vec![
        json!(null),
        json!(true),
        // Neither `{}`, an Any of nothing, nor "1e2", an integer: the oracle refuses them.
        json!([]),
        json!(""),
        json!("1"),
        json!("-1"),
        json!("+1"),
        json!("NaN"),
        json!("-Infinity"),
        json!("inf"),
        json!("RED"),
        json!("BLUE"),
        json!("2024-01-01T00:00:00Z"),
        json!("1.5s"),
        json!("text,snakeCaseName"),
        json!("AQI="),
        json!("_-8"),
        json!("true"),
        json!(1.5),
        json!(1.0),
        json!(-0.0),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(4_294_967_296_u64),
        json!(1e39),
        json!(1e300),
        json!({"@type": "type.googleapis.com/shapes.v1.Nested", "text": "a"}),
        json!({"1": {"text": "a"}}),
        json!({"a": 1}),
    ]);
    prop_oneof![
        odd,
        any::<i64>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from)
    ]
}

fn tree() -> impl Strategy<Value = Json> {
    let names: Vec<String> = fixture::route("GET", "/v1/shapes")
        .0
        .rpc
        .input
        .fields()
        .flat_map(|field| [field.name().to_owned(), field.json_name().to_owned()])
        .chain(["deeper", "number", "colors", "nope", "7"].map(str::to_owned))
        .collect();
    leaf().prop_recursive(4, 24, 6, move |inner| {
        let member = (select(names.clone()), inner.clone());
        prop_oneof![
            vec(member, 1..6).prop_map(|members| Json::Object(members.into_iter().collect())),
            vec(inner, 0..4).prop_map(Json::Array),
        ]
    })
}

/// The members of messages of this package whose values are numbers of an enum.
fn enums(input: &MessageDescriptor) -> Vec<String> {
    let is_enum = |kind: Kind| matches!(kind, Kind::Enum(_));
    input
        .parent_pool()
        .all_messages()
        .filter(|message| message.package_name() == input.package_name())
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter(|field| match field.kind() {
            Kind::Message(entry) if field.is_map() => is_enum(entry.map_entry_value_field().kind()),
            kind => is_enum(kind),
        })
        .flat_map(|field| [field.name().to_owned(), field.json_name().to_owned()])
        .collect()
}

/// Beyond this, and below the other, a double is a whole number of 64 bits whose digits are not those of its spelling.
const INEXACT: std::ops::Range<f64> = 9_007_199_254_740_992.0..18_446_744_073_709_551_616.0;

/// The same tree with whole numbers as integers where the oracle reads another one, or none: ProtoJSON takes 1.0 for the number of an enum, the
/// oracle does not; and 1.2345678901234568e18 is the integer of these digits, of which the oracle has the nearest double.
fn with_integers(tree: &Json, enums: &[String], of_enum: bool) -> Json {
    match tree {
        Json::Object(members) => Json::Object(
            members
                .iter()
                .map(|(name, value)| {
                    (name.clone(), with_integers(value, enums, of_enum || enums.contains(name)))
                })
                .collect(),
        ),
        Json::Array(items) => items.iter().map(|item| with_integers(item, enums, of_enum)).collect(),
        Json::Number(number) => match number.as_f64() {
            Some(whole) if !number.is_f64() || whole.fract() != 0.0 => tree.clone(),
            Some(whole) if of_enum && whole.abs() <= f64::from(u32::MAX) => json!(whole as i64),
            // Without an exponent: the shortest digits of the double, and zeros.
            Some(whole) if INEXACT.contains(&whole.abs()) => {
                serde_json::from_str(&whole.to_string()).expect("digits are JSON")
            }
            _ => tree.clone(),
        },
        _ => tree.clone(),
    }
}

/// What a tree means to us and to the oracle, where we accept it.
fn both(tree: &Json) -> Option<[Option<Vec<u8>>; 2]> {
    let input = fixture::route("GET", "/v1/shapes").0.rpc.input.clone();
    let ours = message_of(&input, tree.to_string().as_bytes(), false).ok()?;
    let spelled = with_integers(tree, &enums(&input), false);
    let theirs = DynamicMessage::deserialize(input, &spelled).expect("ours is the stricter one");
    // Not the messages themselves: a NaN is not equal to itself, and their Debug does not end where types recurse.
    Some([ours, theirs].map(|message| print::message(&message, usize::MAX).ok()))
}

proptest! {
    #[test]
    fn what_is_accepted_means_what_the_oracle_says(tree in tree()) {
        if let Some([ours, theirs]) = both(&tree) {
            prop_assert_eq!(ours, theirs);
        }
    }
}

/// What the generator makes once in hundreds of runs.
#[test]
fn so_does_what_is_rare() {
    for (tree, expected) in [
        (json!({"i64": 1.234_567_890_123_456_8e18}), r#"{"i64":"1234567890123456800"}"#),
        (json!({"u64": 1.234_567_890_123_456_7e19}), r#"{"u64":"12345678901234567000"}"#),
        (json!({"numbers": [-1.234_567_890_123_456_8e18]}), r#"{"numbers":["-1234567890123456800"]}"#),
        (json!({"nested": {"colors": [1.0]}}), r#"{"nested":{"colors":["RED"]}}"#),
    ] {
        let meant = both(&tree).unwrap_or_else(|| panic!("{tree} is refused"));
        let meant = meant.map(|text| String::from_utf8(text.expect("it has a JSON form")).expect("UTF-8"));
        assert_eq!(meant, [expected, expected], "{tree}");
    }
}
