//! The flat tables against prost-reflect, on generated messages with every kind of field, in both directions.
//!
//! `PROPTEST_RNG_SEED` says which messages are generated, `PROPTEST_CASES` how many for each property; 12,500 without it, of which more than 10,000
//! are right.

use std::{
    collections::BTreeMap,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestRunner};
use prost::Message as _;
use prost_reflect::Kind;
use serde_json::{Value as Json, json};

use super::*;
use crate::fixture::EVERY;

static TYPE: LazyLock<Type> = LazyLock::new(|| Type::new(&EVERY));

fn runner() -> TestRunner {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(12_500);
    TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() })
}

/// Most values fit their field, and some do not.
fn value(kind: &Kind, depth: u32) -> BoxedStrategy<Json> {
    let integers = prop_oneof![any::<i32>().prop_map(Json::from), any::<i64>().prop_map(Json::from)];
    let fits = match kind {
        Kind::Double | Kind::Float => prop_oneof![
            any::<f32>().prop_map(|value| json!(value)),
            any::<f64>().prop_map(|value| json!(value)),
            select(vec![json!("NaN"), json!("-Infinity"), json!(-0.0), json!(0), json!("1e3")])
        ]
        .boxed(),
        Kind::Bool => any::<bool>().prop_map(Json::from).boxed(),
        Kind::String => {
            prop_oneof!["[a-z\"\\\\\u{0}-\u{20}é€😀]{0,12}", Just(String::new())].prop_map(Json::from).boxed()
        }
        Kind::Bytes => {
            prop_oneof![select(vec!["", "AQI=", "_-8", "AQ"]), Just("AAAA")].prop_map(Json::from).boxed()
        }
        Kind::Enum(descriptor) if descriptor.name() == "NullValue" => Just(Json::Null).boxed(),
        Kind::Enum(_) => {
            select(vec![json!("RED"), json!("CRIMSON"), json!("GREEN"), json!(-1), json!(0), json!(77)])
                .boxed()
        }
        Kind::Message(message) if message.name() == "Every" => object(depth).boxed(),
        Kind::Message(message) => well_known(message.name()),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => prop_oneof![
            any::<i32>().prop_map(Json::from),
            any::<i32>().prop_map(|n| n.to_string().into()),
            // The digits of a number such as 1e3 are the reflective path's to read.
            Just(json!("1e3"))
        ]
        .boxed(),
        Kind::Uint32 | Kind::Fixed32 => any::<u32>().prop_map(Json::from).boxed(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            prop_oneof![any::<i64>().prop_map(Json::from), any::<i64>().prop_map(|n| n.to_string().into())]
                .boxed()
        }
        Kind::Uint64 | Kind::Fixed64 => any::<u64>().prop_map(|n| n.to_string().into()).boxed(),
    };
    prop_oneof![60 => fits, 1 => integers, 1 => select(vec![Json::Null, json!([]), json!({"x": 1})])].boxed()
}

fn well_known(name: &str) -> BoxedStrategy<Json> {
    let any_value =
        vec![json!(null), json!(1.5), json!("x"), json!([1, {"a": [true]}]), json!({"b": {"c": null}})];
    match name {
        "Timestamp" => (0_i64..253_402_300_799, select(vec![0, 5_000_000, 7_000, 1]))
            .prop_map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos }.to_string().into())
            .boxed(),
        "Value" => select(any_value).boxed(),
        "ListValue" => vec(select(any_value), 0..3).prop_map(Json::from).boxed(),
        "Struct" => select(vec![json!({}), json!({"a": 1, "b": [null, {"c": "d"}]})]).boxed(),
        "Duration" => select(vec![json!("1.5s"), json!("-3s"), json!("0s")]).boxed(),
        "FieldMask" => select(vec![json!("a,bC.dE"), json!("")]).boxed(),
        "Any" => select(vec![
            json!({"@type": "type.googleapis.com/every.v1.Every", "aString": "x", "by_int32": {"1": 2}}),
            json!({"@type": "type.googleapis.com/google.protobuf.Duration", "value": "2s"}),
        ])
        .boxed(),
        "DoubleValue" => any::<f64>().prop_map(|value| json!(value)).boxed(),
        "FloatValue" => any::<f32>().prop_map(|value| json!(value)).boxed(),
        "Int32Value" => any::<i32>().prop_map(Json::from).boxed(),
        "UInt32Value" => any::<u32>().prop_map(Json::from).boxed(),
        "UInt64Value" => any::<u64>().prop_map(|n| n.to_string().into()).boxed(),
        "Int64Value" => any::<i64>().prop_map(Json::from).boxed(),
        "BoolValue" => any::<bool>().prop_map(Json::from).boxed(),
        "StringValue" => select(vec![json!(""), json!("é")]).boxed(),
        "BytesValue" => Just(json!("AQI=")).boxed(),
        _ => Just(json!({})).boxed(),
    }
}

fn object(depth: u32) -> BoxedStrategy<Json> {
    if depth == 0 {
        return Just(json!({})).boxed();
    }
    let fields: Vec<_> = EVERY.fields().collect();
    let member = select(fields).prop_flat_map(move |field| {
        let name = select(vec![field.name().to_owned(), field.json_name().to_owned()]);
        let value = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let (key, kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
                let key = match key {
                    Kind::Bool => select(vec!["true", "false"]).prop_map(str::to_owned).boxed(),
                    Kind::String => "[a\"é]{0,2}".boxed(),
                    _ => (0..9_u8).prop_map(|key| key.to_string()).boxed(),
                };
                let entries = vec((key, value(&kind, depth - 1)), 0..3);
                entries
                    .prop_map(|entries| entries.into_iter().collect::<BTreeMap<_, _>>())
                    .prop_map(|map| json!(map))
                    .boxed()
            }
            kind if field.is_list() => vec(value(&kind, depth - 1), 0..4).prop_map(Json::from).boxed(),
            kind => value(&kind, depth - 1),
        };
        (name, value)
    });
    vec(member, 0..8).prop_map(|members| Json::Object(members.into_iter().collect())).boxed()
}

/// What the oracle makes of wire bytes.
fn oracle(wire: &[u8]) -> Option<Vec<u8>> {
    serde_json::to_vec(&DynamicMessage::decode(EVERY.clone(), wire).ok()?).ok()
}

/// Equal byte for byte but for the order of a map's entries, which the oracle shuffles.
fn same(ours: &[u8], theirs: &[u8]) -> bool {
    let tree = |text| serde_json::from_slice::<Json>(text).expect("JSON");
    ours == theirs || (ours.len() == theirs.len() && tree(ours) == tree(theirs))
}

#[test]
fn json_becomes_the_message_that_the_oracle_makes_of_it() {
    let (direct, accepted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let outcome = runner().run(&object(3), |tree| {
        let text = tree.to_string();
        let reader = Reader { plans: &TYPE.plans };
        let ours = direct::message(reader, TYPE.plans.message(TYPE.place), text.as_bytes());
        let theirs = bind::message_of(&EVERY, text.as_bytes(), false).ok();
        accepted.fetch_add(theirs.is_some().into(), Relaxed);
        let Some(ours) = ours else { return Ok(()) };
        direct.fetch_add(1, Relaxed);
        let theirs = theirs.map(|message| serde_json::to_vec(&message).expect("has a JSON form"));
        let theirs = theirs.ok_or_else(|| TestCaseError::fail("the oracle refuses it"))?;
        let ours = oracle(&ours).ok_or_else(|| TestCaseError::fail("not a message"))?;
        prop_assert!(
            same(&ours, &theirs),
            "{}\n{}",
            String::from_utf8_lossy(&ours),
            String::from_utf8_lossy(&theirs)
        );
        Ok(())
    });
    outcome.expect("every message");
    let (direct, accepted) = (direct.into_inner(), accepted.into_inner());
    assert_eq!(direct, accepted, "the tables read whatever is right");
    if std::env::var_os("PROPTEST_CASES").is_none() {
        assert!(accepted >= 10_000, "{accepted} messages are right");
    }
}

/// Wire bytes as a service would send them, and what becomes of them on bad days: other orders, fields twice, unknown fields,
/// bytes lost or changed.
fn wire() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let right = object(3).prop_filter_map("not a message", |tree| {
        Some(bind::message_of(&EVERY, tree.to_string().as_bytes(), false).ok()?.encode_to_vec())
    });
    let odd = vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..3);
    (right, prop_oneof![2 => Just(Vec::new()), 1 => odd]).prop_map(|(mut wire, odd)| {
        let as_sent = odd.is_empty();
        for (at, byte, what) in odd {
            let at = if wire.is_empty() { 0 } else { at.index(wire.len()) };
            match what {
                0 if !wire.is_empty() => wire[at] = byte,
                1 => wire.truncate(at),
                2 => wire.extend(wire.clone()),
                // A field that nobody knows.
                _ => wire.extend([0x98, 0x3f, byte & 0x7f]),
            }
        }
        (wire, as_sent)
    })
}

#[test]
fn a_message_becomes_the_json_that_the_oracle_makes_of_it() {
    let outcome = runner().run(&wire(), |(wire, as_sent)| {
        let ours = rendered(&TYPE.plans, TYPE.plans.message(TYPE.place), &wire, usize::MAX).ok().flatten();
        let theirs = oracle(&wire);
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                prop_assert!(
                    same(&ours, &theirs),
                    "{}\n{}",
                    String::from_utf8_lossy(&ours),
                    String::from_utf8_lossy(&theirs)
                );
            }
            // An Any of nothing, which the suite wants printed and prost-reflect cannot print.
            (Some(ours), None) => {
                let of_nothing = String::from_utf8_lossy(&ours).contains(r#""any":{}"#);
                prop_assert!(of_nothing, "the oracle refuses it");
            }
            (None, theirs) => {
                prop_assert!(!as_sent || theirs.is_none(), "the tables print whatever a service sends")
            }
        }
        Ok(())
    });
    outcome.expect("every message");
}

#[test]
fn any_bytes_are_printed_as_prost_reflect_prints_them() {
    let outcome = runner().run(&vec(any::<u8>(), 0..64), |wire| {
        match (
            rendered(&TYPE.plans, TYPE.plans.message(TYPE.place), &wire, usize::MAX).ok().flatten(),
            oracle(&wire),
        ) {
            (Some(ours), Some(theirs)) => prop_assert!(same(&ours, &theirs)),
            (ours, _) => prop_assert!(ours.is_none(), "the oracle refuses it"),
        }
        Ok(())
    });
    outcome.expect("any bytes");
}
