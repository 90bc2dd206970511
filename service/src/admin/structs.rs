//! JSON as `google.protobuf.Struct`, and back.

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::{Map, Number};

/// A double holds each whole number up to here, and beyond not each.
const EXACT: u64 = 1 << 53;

/// An object; `None` for JSON that is none.
pub(super) fn to_struct(json: &serde_json::Value) -> Option<Struct> {
    let members = json.as_object()?.iter();
    Some(Struct { fields: members.map(|(name, member)| (name.clone(), to_value(member))).collect() })
}

fn to_value(json: &serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(is) => Kind::BoolValue(*is),
        serde_json::Value::Number(number) => to_number(number),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(to_value).collect() })
        }
        serde_json::Value::Object(_) => Kind::StructValue(to_struct(json).unwrap_or_default()),
    };
    Value { kind: Some(kind) }
}

/// What a double would change is text, as 64-bit numbers are in ProtoJSON.
fn to_number(number: &Number) -> Kind {
    let is_exact = number.as_i64().is_none_or(|whole| whole.unsigned_abs() <= EXACT)
        && number.as_u64().is_none_or(|whole| whole <= EXACT);
    match number.as_f64().filter(|_| is_exact) {
        Some(double) => Kind::NumberValue(double),
        None => Kind::StringValue(number.to_string()),
    }
}

/// The JSON of an object. A number that is whole is written so.
pub(super) fn to_json(object: &Struct) -> serde_json::Value {
    let members = object.fields.iter().map(|(name, value)| (name.clone(), from_value(value)));
    serde_json::Value::Object(members.collect::<Map<_, _>>())
}

fn from_value(value: &Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(is)) => (*is).into(),
        Some(Kind::NumberValue(double)) => from_number(*double),
        Some(Kind::StringValue(text)) => text.clone().into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(from_value).collect(),
        Some(Kind::StructValue(object)) => to_json(object),
    }
}

fn from_number(double: f64) -> serde_json::Value {
    if double.fract() == 0.0 && double.abs() <= EXACT as f64 {
        // Exact, as it is whole and within.
        return (double as i64).into();
    }
    Number::from_f64(double).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_comes_back_as_it_was() {
        let json = json!({ "a": 1, "b": -2.5, "c": [true, null, { "d": "e" }], "f": {}, "g": 9_007_199_254_740_992_i64 });
        let object = to_struct(&json).expect("an object");
        assert_eq!(to_json(&object), json);
        let large = to_struct(&json!({ "a": 9_007_199_254_740_993_i64 })).expect("an object");
        assert_eq!(to_json(&large), json!({ "a": "9007199254740993" }));
        assert_eq!(to_struct(&json!([1])), None);
    }
}
