//! Where the judges are not as the specification is.

use std::borrow::Cow;

use prost_reflect::{Kind, MessageDescriptor};
use serde_json::Value as Json;

use crate::{
    bind::{decimal, known, names},
    times,
};

/// Who judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judge {
    /// protobuf for Python, its `json_format`.
    Python,
    /// protobuf-es.
    Es,
}

/// A spelling that a judge takes otherwise, and the line of the specification that decides.
struct Deviation {
    judges: &'static [Judge],
    #[expect(dead_code, reason = "for who reads the table")]
    decides: &'static str,
    is: fn(&Kind, &Json) -> bool,
}

const BOTH: &[Judge] = &[Judge::Python, Judge::Es];
const PYTHON: &[Judge] = &[Judge::Python];
const ES: &[Judge] = &[Judge::Es];

/// Lines of <https://protobuf.dev/programming-guides/json>, but where another page is named.
const TABLE: &[Deviation] = &[
    Deviation {
        judges: BOTH,
        decides: "\"int32, fixed32, uint32: JSON value will be a decimal number\", also with an exponent; both read it as a double first, \
                  or only digits where it is text",
        is: |kind, json| is_integer(kind) && spelled(json).is_some_and(|text| is_unusual(&text)),
    },
    Deviation {
        judges: ES,
        decides: "\"int64, fixed64, uint64: JSON value will be a decimal string. Either numbers or strings are accepted\"; numbers are \
                  doubles to it",
        is: |kind, json| {
            is_integer(kind)
                && json.as_str().is_some_and(|text| text.starts_with('#') && is_above(&text[1..], 9e15))
        },
    },
    Deviation {
        judges: BOTH,
        decides: "RFC 8259, section 6, says what a number is; both take what their languages do, such as `1_0`, `0x1`, `inf` and `1.`",
        is: |kind, json| {
            is_float(kind) && json.as_str().is_some_and(|text| !text.starts_with('#') && !is_double(text))
        },
    },
    Deviation {
        judges: BOTH,
        decides: "\"-0 is considered different and will be serialized\" (https://protobuf.dev/programming-guides/proto3/#default)",
        is: |kind, json| {
            let in_value = (is_named(kind, "Value") || is_named(kind, "ListValue"))
                && json.to_string().contains("#-0.0");
            in_value || is_float(kind) && spelled(json).is_some_and(|text| is_minus_zero(kind, &text))
        },
    },
    Deviation {
        judges: BOTH,
        decides: "\"float: JSON value will be a number\": the largest float is one as it is printed, 3.4028235e+38",
        is: |kind, json| {
            *kind == Kind::Float && spelled(json).is_some_and(|text| is_above(&text, 3.402_823e38))
        },
    },
    Deviation {
        judges: BOTH,
        decides: "\"null is an accepted value\" of Value and NullValue, so also in a list or a map",
        is: |kind, json| json.is_null() && is_named(kind, "Value") || is_null_value(kind),
    },
    Deviation {
        judges: ES,
        decides: "NullValue has one value, which is null: a 1 would be answered as null",
        is: |kind, json| is_null_value(kind) && !json.is_null(),
    },
    Deviation {
        judges: PYTHON,
        decides: "\"float, double: JSON value will be a number or one of the special string values\"; it takes true for 1",
        is: |kind, json| is_float(kind) && json.is_boolean(),
    },
    Deviation {
        judges: PYTHON,
        decides: "\"message: Generates JSON objects\"; it takes any array without elements",
        is: |kind, json| matches!(kind, Kind::Message(_)) && json == &Json::Array(Vec::new()),
    },
    Deviation {
        judges: PYTHON,
        decides: "\"If the Any contains a value that has a special JSON mapping, it will be converted as follows: {\"@type\": xxx, \"value\": yyy}\"; \
                  Empty has one, which is {}",
        is: |kind, json| {
            is_named(kind, "Any") && json["@type"] == "type.googleapis.com/google.protobuf.Empty"
        },
    },
    Deviation {
        judges: PYTHON,
        decides: "\"enum: the name of the enum value as specified in proto is used. Parsers accept both enum names and integer values\"; \
                  it takes the integer part of anything",
        is: |kind, json| {
            let is_other = spelled(json).is_some_and(|text| !text.contains(char::is_alphabetic));
            matches!(kind, Kind::Enum(_)) && (is_other || json.is_boolean())
        },
    },
    Deviation {
        judges: PYTHON,
        decides: "\"Either standard or URL-safe base64 encoding with/without paddings are accepted\": `*` is neither",
        is: |kind, json| *kind == Kind::Bytes && json.as_str().is_some_and(|text| ["*", "A"].contains(&text)),
    },
    Deviation {
        judges: BOTH,
        decides: "\"Accepted are any fractional digits (also none) as long as they fit into nanosecond precision\"",
        is: |kind, json| {
            let is_odd = |text: &str| match kind {
                kind if is_named(kind, "Duration") => times::duration(text).is_none(),
                kind if is_named(kind, "Timestamp") => times::timestamp(text).is_none(),
                _ => false,
            };
            json.as_str().is_some_and(is_odd)
        },
    },
    Deviation {
        judges: BOTH,
        decides: "a FieldMask's paths are separated by commas, and no path is empty",
        is: |kind, json| is_named(kind, "FieldMask") && json.as_str().is_some_and(|text| text.ends_with(',')),
    },
];

/// A number as it is spelled, quoted or not.
fn spelled(json: &Json) -> Option<Cow<'_, str>> {
    match json {
        Json::String(text) => Some(text.strip_prefix('#').unwrap_or(text).into()),
        Json::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}

fn is_integer(kind: &Kind) -> bool {
    !is_float(kind)
        && !matches!(kind, Kind::Message(_) | Kind::Enum(_) | Kind::Bool | Kind::String | Kind::Bytes)
}

fn is_float(kind: &Kind) -> bool {
    matches!(kind, Kind::Double | Kind::Float)
}

fn is_named(kind: &Kind, name: &str) -> bool {
    matches!(kind, Kind::Message(message) if message.full_name().strip_prefix("google.protobuf.") == Some(name))
}

fn is_null_value(kind: &Kind) -> bool {
    matches!(kind, Kind::Enum(descriptor) if descriptor.name() == "NullValue")
}

/// Whether an integer is not spelled as everybody does.
fn is_unusual(text: &str) -> bool {
    text.parse::<i128>().map(|value| value.to_string()) != Ok(text.to_owned())
}

fn is_double(text: &str) -> bool {
    decimal::is_number(text) && text.parse().is_ok_and(f64::is_finite)
        || ["NaN", "Infinity", "-Infinity"].contains(&text)
}

#[expect(clippy::cast_possible_truncation, reason = "what a float field makes of it")]
fn is_minus_zero(kind: &Kind, text: &str) -> bool {
    let is_zero = |value: f64| value == 0.0 || *kind == Kind::Float && value as f32 == 0.0;
    text.starts_with('-') && text.parse().is_ok_and(is_zero)
}

fn is_above(text: &str, bound: f64) -> bool {
    text.parse().is_ok_and(|value: f64| value.is_finite() && value.abs() > bound)
}

/// Whether a message has such a spelling anywhere.
pub(super) fn deviates(judge: Judge, message: &MessageDescriptor, tree: &Json) -> bool {
    let Json::Object(members) = tree else { return false };
    let mut numbers: Vec<u32> =
        members.keys().filter_map(|name| Some(names::field(message, name)?.number())).collect();
    numbers.sort_unstable();
    // One field by both of its names: nobody says which one counts, and the edge refuses it.
    numbers.windows(2).any(|pair| pair[0] == pair[1])
        || members.iter().any(|(name, json)| {
            let Some(field) = names::field(message, name) else { return false };
            match (field.kind(), json) {
                (Kind::Message(entry), Json::Object(entries)) if field.is_map() => {
                    let (of_key, of_value) =
                        (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
                    entries.iter().any(|(key, json)| {
                        is_listed(judge, &of_key, &Json::from(key.as_str())) || value(judge, &of_value, json)
                    })
                }
                (kind, Json::Array(items)) if field.is_list() => {
                    items.iter().any(|json| value(judge, &kind, json))
                }
                (kind, json) => value(judge, &kind, json),
            }
        })
}

fn value(judge: Judge, kind: &Kind, json: &Json) -> bool {
    let inner = match kind {
        Kind::Message(message) => match known::wrapped(message) {
            Some(field) => value(judge, &field.kind(), json),
            None => deviates(judge, message, json),
        },
        _ => false,
    };
    inner || is_listed(judge, kind, json)
}

fn is_listed(judge: Judge, kind: &Kind, json: &Json) -> bool {
    TABLE.iter().any(|deviation| deviation.judges.contains(&judge) && (deviation.is)(kind, json))
}
