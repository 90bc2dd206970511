//! Reads JSON text into a tree, bounded in depth, without ambiguous objects, and with every digit of its numbers.

use std::{cell::Cell, collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{memory::Memory, report::clip, scalar::Leaf};

/// Levels of objects and arrays. Each level inside of a google.protobuf.Struct takes three messages on the wire, and
/// prost-built services refuse the hundredth: a request that passes here can be decoded behind the edge.
pub(crate) const MAX_DEPTH: usize = 32;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'t> {
    Null,
    Bool(bool),
    /// A number without a fraction or an exponent, of 64 bits.
    Integer(i128),
    /// Another number, as it is spelled.
    Decimal(&'t str),
    /// Another number whose digits nobody kept.
    Double(f64),
    Text(String),
    Array(Vec<Json<'t>>),
    Object(Object<'t>),
}

/// The members of an object, in their order; no name is there twice.
pub(crate) type Object<'t> = Vec<(String, Json<'t>)>;

impl Json<'_> {
    /// The value, as far as it is neither an array nor an object.
    pub(crate) fn leaf(&self) -> Leaf<'_> {
        match self {
            Self::Null => Leaf::Null,
            Self::Bool(value) => Leaf::Bool(*value),
            Self::Integer(value) => Leaf::Integer(*value),
            Self::Decimal(text) => Leaf::Decimal(text),
            Self::Double(value) => Leaf::Double(*value),
            Self::Text(text) => Leaf::Text(text),
            Self::Array(_) | Self::Object(_) => Leaf::Tree,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        *self == Self::Null
    }
}

/// Reads one JSON text (RFC 8259), within this memory.
///
/// # Errors
/// Text that is no JSON, nests deeper than [`MAX_DEPTH`], or has an object with a name twice (which readers would
/// understand differently: RFC 8259, section 4); or one that takes more than there is.
pub(crate) fn parse<'t>(text: &'t [u8], memory: &Memory) -> Result<Json<'t>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let numbers = Numbers(Cell::new(text));
    let tree = Tree { level: Level::TOP, numbers: Some(&numbers), memory };
    let value = tree.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// How many levels a value may still nest.
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

/// What is left of a JSON text, for its numbers: serde_json gives those with a fraction as doubles, in the order of the text.
struct Numbers<'t>(Cell<&'t [u8]>);

impl<'t> Numbers<'t> {
    /// The next number of a text that has been found to be JSON up to its end.
    fn next(&self) -> &'t str {
        let mut rest = self.0.get();
        let mut quoted = false;
        while let Some((&byte, after)) = rest.split_first() {
            match byte {
                b'"' => quoted = !quoted,
                // What is escaped may be a quote.
                b'\\' if quoted => {
                    rest = after.get(1..).unwrap_or_default();
                    continue;
                }
                b'-' | b'0'..=b'9' if !quoted => break,
                _ => {}
            }
            rest = after;
        }
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        let (number, rest) = rest.split_at(length);
        self.0.set(rest);
        std::str::from_utf8(number).unwrap_or_default()
    }
}

/// Reads a value as a tree.
#[derive(Clone, Copy)]
pub(crate) struct Tree<'n, 't> {
    level: Level,
    numbers: Option<&'n Numbers<'t>>,
    memory: &'n Memory,
}

impl<'n> Tree<'n, '_> {
    /// Of a part of a text, whose digits are not at hand.
    pub(crate) fn without_digits(level: Level, memory: &'n Memory) -> Self {
        Self { level, numbers: None, memory }
    }

    fn inside<E: Error>(self) -> Result<Self, E> {
        Ok(Self { level: self.level.deeper()?, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_, 'de> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_, 'de> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        self.numbers.map(Numbers::next);
        Ok(Json::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        self.numbers.map(Numbers::next);
        Ok(Json::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(self.numbers.map_or(Json::Double(value), |numbers| Json::Decimal(numbers.next())))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json<'de>, E> {
        self.memory.text(value).ok_or_else(exhausted)?;
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let inside = self.inside()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            self.memory.item().ok_or_else(exhausted)?;
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        let inside = self.inside()?;
        let (mut object, mut names) = (Vec::new(), HashSet::new());
        while let Some(name) = members.next_key::<String>()? {
            self.memory.member(&name).ok_or_else(exhausted)?;
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("the name {:?} is there twice", clip(&name))));
            }
            object.push((name, members.next_value_seed(inside)?));
        }
        Ok(Json::Object(object))
    }
}

fn exhausted<E: Error>() -> E {
    E::custom("more values than there is memory for")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &[u8]) -> Result<Json<'_>, serde_json::Error> {
        super::parse(text, &Memory::default())
    }

    /// As serde_json has it.
    fn plain(json: &Json<'_>) -> serde_json::Value {
        match json {
            Json::Null => serde_json::Value::Null,
            Json::Bool(value) => (*value).into(),
            Json::Integer(value) => serde_json::from_str(&value.to_string()).expect("an integer"),
            Json::Decimal(text) => serde_json::from_str(text).expect("a number"),
            Json::Double(value) => (*value).into(),
            Json::Text(text) => text.as_str().into(),
            Json::Array(items) => items.iter().map(plain).collect(),
            Json::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
            }
        }
    }

    #[test]
    fn json_is_read_as_it_is() {
        let text = br#"{"a\"1": [1, -2, 1.50, true, null, "x\u00e9 2.5\\"], "b": {}, "c": 18446744073709551615, "d": [1E400e, 3]}"#;
        let text = &String::from_utf8_lossy(text).replace("1E400e", "9007199254740993.0");
        let members = [
            (
                "a\"1",
                Json::Array(vec![
                    Json::Integer(1),
                    Json::Integer(-2),
                    Json::Decimal("1.50"),
                    Json::Bool(true),
                    Json::Null,
                    Json::Text("xé 2.5\\".to_owned()),
                ]),
            ),
            ("b", Json::Object(Vec::new())),
            ("c", Json::Integer(u64::MAX.into())),
            ("d", Json::Array(vec![Json::Decimal("9007199254740993.0"), Json::Integer(3)])),
        ];
        let expected = Json::Object(members.map(|(name, value)| (name.to_owned(), value)).into());
        assert_eq!(parse(text.as_bytes()).expect("valid JSON"), expected);
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
        fn serde_json_reads_the_same(text in "[\\[\\]{}\",:0-9.eE+tfn\\-ab \\\\]{0,30}") {
            if let Ok(value) = parse(text.as_bytes()) {
                let theirs: serde_json::Value = serde_json::from_str(&text).expect("ours is the stricter one");
                prop_assert_eq!(plain(&value), theirs);
            }
        }
    }
}
