//! Our walk against prost-reflect's reader: what we accept, it accepts too, and both mean the same.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value as Json, json};

use super::*;
use crate::{bind::message_of, fixture, reflect::print};

fn leaf() -> impl Strategy<Value = Json> {
    let odd = select(vec![
        json!(null),
        json!(true),
        // Neither `{}`, an Any of nothing, nor "1e2", an integer, nor 1.0, an enum's number: the oracle refuses them.
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

proptest! {
    #[test]
    fn what_is_accepted_means_what_the_oracle_says(tree in tree()) {
        let input = fixture::route("GET", "/v1/shapes").0.rpc.input.clone();
        if let Ok(ours) = message_of(&input, tree.to_string().as_bytes(), false) {
            let theirs = DynamicMessage::deserialize(input, &tree).expect("ours is the stricter one");
            // Not the messages themselves: a NaN is not equal to itself, and their Debug does not end where types recurse.
            prop_assert_eq!(print::message(&ours, usize::MAX).ok(), print::message(&theirs, usize::MAX).ok());
        }
    }
}
