//! Reads JSON text into a tree, bounded in depth and without ambiguous objects.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::report::clip;

/// Levels of objects and arrays. Each level inside of a google.protobuf.Struct takes three messages on the wire, and
/// prost-built services refuse the hundredth: a request that passes here can be decoded behind the edge.
pub(crate) const MAX_DEPTH: usize = 32;

/// Reads one JSON text (RFC 8259).
///
/// # Errors
/// Text that is no JSON, nests deeper than [`MAX_DEPTH`], or has an object with a name twice (which readers would
/// understand differently: RFC 8259, section 4).
pub(crate) fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Level::TOP.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Reads a value that may nest so many levels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level(usize);

impl Level {
    /// Of a whole text.
    pub(crate) const TOP: Self = Self(MAX_DEPTH);

    /// The level inside of an object or an array on this one.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.0.checked_sub(1) {
            Some(left) => Ok(Self(left)),
            None => Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let level = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(level)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let level = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the name {:?} is there twice", clip(&name))));
            }
            object.insert(name, members.next_value_seed(level)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_read_as_it_is() {
        let text = br#"{"a": [1, -2, 1.5, true, null, "x\u00e9"], "b": {}, "c": 18446744073709551615}"#;
        let expected = json!({"a": [1, -2, 1.5, true, null, "xé"], "b": {}, "c": u64::MAX});
        assert_eq!(parse(text).expect("valid JSON"), expected);
    }

    #[test]
    fn what_is_no_json_or_ambiguous_is_refused() {
        for (text, part) in [
            ("", "EOF"),
            ("{", "EOF"),
            ("{} {}", "trailing characters"),
            ("{'a': 1}", "key must be a string"),
            (r#"{"a": 1, "a": 2}"#, "the name \"a\" is there twice"),
            ("[1e999]", "number out of range"),
            ("[NaN]", "expected value"),
            ("\u{feff}{}", "expected value"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        parse(b"\"\xff\"").expect_err("not UTF-8");
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        let nest = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        parse(nest(MAX_DEPTH).as_bytes()).expect("as deep as allowed");
        for depth in [MAX_DEPTH + 1, 10_000] {
            let error = parse(nest(depth).as_bytes()).expect_err("too deep").to_string();
            assert!(error.starts_with("nested deeper than 32 levels"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn serde_json_reads_the_same(text in "[\\[\\]{}\",:0-9.eE+tfn\\-ab ]{0,30}") {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).expect("ours is the stricter one"));
            }
        }
    }
}
