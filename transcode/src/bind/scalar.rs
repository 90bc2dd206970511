//! Single values: a JSON value or a text becomes the value of a field, by the rules of ProtoJSON
//! (<https://protobuf.dev/programming-guides/json>).

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost_reflect::{DeserializeOptions, DynamicMessage, EnumDescriptor, Kind, MessageDescriptor, Value};
use serde_json::Value as Json;

use super::closed::is_closed;

/// JSON numbers with a fraction or an exponent are read as doubles, which are exact integers only up to here.
const EXACT_DOUBLE: f64 = 9_007_199_254_740_992.0;

/// Names of an enum that a message lists at most.
const LISTED_NAMES: usize = 16;

/// Whether text alone can express a value: what a path variable or a query parameter can bind.
#[must_use]
pub(crate) fn is_textual(kind: &Kind) -> bool {
    match kind {
        Kind::Message(message) => {
            is_well_known(message.full_name())
                && !matches!(
                    message.full_name(),
                    "google.protobuf.Any"
                        | "google.protobuf.Struct"
                        | "google.protobuf.ListValue"
                        | "google.protobuf.Value"
                        | "google.protobuf.Empty"
                )
        }
        _ => true,
    }
}

/// Whether a message has a JSON form of its own.
#[must_use]
pub fn is_well_known(full_name: &str) -> bool {
    let Some(name) = full_name.strip_prefix("google.protobuf.") else { return false };
    name.strip_suffix("Value").is_some_and(|wrapped| {
        ["", "List", "Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes"]
            .contains(&wrapped)
    }) || ["Any", "Timestamp", "Duration", "Struct", "FieldMask", "Empty"].contains(&name)
}

/// A value from a query parameter or a path variable.
///
/// # Errors
/// What the text must be, to follow the name of the field.
pub(crate) fn from_text(kind: &Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Bool => boolean(text).map(Value::Bool),
        Kind::Enum(descriptor) => match text.parse::<i32>() {
            Ok(number) => enum_number(descriptor, number).map(Value::EnumNumber),
            Err(_) => enum_name(descriptor, text).map(Value::EnumNumber),
        },
        Kind::Message(message) if message.full_name() == "google.protobuf.BoolValue" => {
            well_known(message, &Json::Bool(boolean(text)?), false)
        }
        _ => from_json(kind, &Json::String(text.to_owned()), false),
    }
}

/// A value from JSON. `kind` is no message other than a well-known one; `lenient` passes over what is unknown inside of
/// an Any.
///
/// # Errors
/// What the value must be, to follow the name of the field.
pub(crate) fn from_json(kind: &Kind, json: &Json, lenient: bool) -> Result<Value, String> {
    let leaf = Leaf::of(json);
    match kind {
        Kind::Double => double(leaf).map(Value::F64),
        Kind::Float => float(leaf).map(Value::F32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => integer(leaf, "a 32-bit integer").map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => integer(leaf, "a 64-bit integer").map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => integer(leaf, "an unsigned 32-bit integer").map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => integer(leaf, "an unsigned 64-bit integer").map(Value::U64),
        Kind::Bool => json.as_bool().map(Value::Bool).ok_or_else(|| "must be true or false".to_owned()),
        Kind::String => {
            json.as_str().map(|s| Value::String(s.to_owned())).ok_or_else(|| "must be a string".to_owned())
        }
        Kind::Bytes => bytes(leaf).map(|bytes| Value::Bytes(bytes.into())),
        Kind::Enum(descriptor) => enumeration(descriptor, leaf).map(Value::EnumNumber),
        Kind::Message(message) => well_known(message, json, lenient),
    }
}

/// A JSON value that is neither an array nor an object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leaf<'j> {
    Null,
    Bool(bool),
    /// A number without a fraction or an exponent.
    Integer(i128),
    Double(f64),
    Text(&'j str),
    /// An array or an object.
    Tree,
}

impl<'j> Leaf<'j> {
    fn of(json: &'j Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i128(), number.as_f64()) {
                (Some(integer), _) => Self::Integer(integer),
                (None, double) => Self::Double(double.unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text),
            Json::Array(_) | Json::Object(_) => Self::Tree,
        }
    }
}

/// A boolean as text.
///
/// # Errors
/// Any other text than `true` and `false`.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "must be true or false".to_owned())
}

/// An integer: a number without a fraction, or text of one.
///
/// # Errors
/// What it must be.
pub(crate) fn integer<T: TryFrom<i128>>(leaf: Leaf<'_>, what: &str) -> Result<T, String> {
    let wide = match leaf {
        Leaf::Integer(integer) => Some(integer),
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, so exact")]
        Leaf::Double(double) if double.fract() == 0.0 && double.abs() <= EXACT_DOUBLE => Some(double as i128),
        // Rust reads a leading plus, JSON does not.
        Leaf::Text(text) if !text.starts_with('+') => match text.parse() {
            Ok(integer) => Some(integer),
            // Quoted or not, `1e3` is an integer.
            Err(_) if text.contains(['e', 'E', '.']) => {
                return integer(Leaf::Double(double(leaf).unwrap_or(f64::NAN)), what);
            }
            Err(_) => None,
        },
        _ => None,
    };
    wide.and_then(|wide| T::try_from(wide).ok()).ok_or_else(|| format!("must be {what}"))
}

/// A double: a number, text of one, or the name of one that JSON cannot write.
///
/// # Errors
/// What it must be.
pub(crate) fn double(leaf: Leaf<'_>) -> Result<f64, String> {
    let value = match leaf {
        Leaf::Double(value) => Some(value),
        #[expect(
            clippy::cast_precision_loss,
            reason = "rounding to the nearest is what a double field asks for"
        )]
        Leaf::Integer(value) => Some(value as f64),
        Leaf::Text("NaN") => Some(f64::NAN),
        Leaf::Text("Infinity") => Some(f64::INFINITY),
        Leaf::Text("-Infinity") => Some(f64::NEG_INFINITY),
        // Rust reads `inf` and `nan` too, ProtoJSON does not; what overflows is no number either.
        Leaf::Text(text) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
            text.parse().ok().filter(|value: &f64| value.is_finite())
        }
        _ => None,
    };
    value.ok_or_else(|| "must be a number".to_owned())
}

/// As [`double`], rounded to 32 bits.
///
/// # Errors
/// What it must be.
pub(crate) fn float(leaf: Leaf<'_>) -> Result<f32, String> {
    let wide = double(leaf)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to the nearest float is what a float field asks for"
    )]
    let narrow = wide as f32;
    if wide.is_finite() && narrow.is_infinite() {
        return Err("must be a 32-bit number".to_owned());
    }
    Ok(narrow)
}

/// Standard or URL-safe base64, with or without padding.
///
/// # Errors
/// What it must be.
pub(crate) fn bytes(leaf: Leaf<'_>) -> Result<Vec<u8>, String> {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
    let decode = |text: &str| {
        let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
        engine.decode(text).ok()
    };
    let decoded = match leaf {
        Leaf::Text(text) => decode(text),
        _ => None,
    };
    decoded.ok_or_else(|| "must be base64".to_owned())
}

/// The number of an enum's value, from its name or itself.
///
/// # Errors
/// The names it could have.
pub(crate) fn enumeration(descriptor: &EnumDescriptor, leaf: Leaf<'_>) -> Result<i32, String> {
    let is_null = descriptor.full_name() == "google.protobuf.NullValue";
    match leaf {
        Leaf::Null if is_null => Ok(0),
        Leaf::Text(name) => enum_name(descriptor, name),
        Leaf::Integer(number) if !is_null => {
            enum_number(descriptor, i32::try_from(number).map_err(|_| expected_name(descriptor))?)
        }
        _ => Err(expected_name(descriptor)),
    }
}

fn enum_name(descriptor: &EnumDescriptor, name: &str) -> Result<i32, String> {
    let value = descriptor.get_value_by_name(name).ok_or_else(|| expected_name(descriptor))?;
    Ok(value.number())
}

/// proto3 enums are open: a number without a name is kept, as a newer client may know it.
fn enum_number(descriptor: &EnumDescriptor, number: i32) -> Result<i32, String> {
    if !is_closed(descriptor) || descriptor.get_value(number).is_some() {
        Ok(number)
    } else {
        Err(expected_name(descriptor))
    }
}

fn expected_name(descriptor: &EnumDescriptor) -> String {
    let names: Vec<String> =
        descriptor.values().take(LISTED_NAMES).map(|value| value.name().to_owned()).collect();
    let more = if descriptor.values().len() > LISTED_NAMES { ", …" } else { "" };
    format!("must be one of {}{more}", names.join(", "))
}

fn well_known(message: &MessageDescriptor, json: &Json, lenient: bool) -> Result<Value, String> {
    // An Any that holds nothing needs no type.
    if message.full_name() == "google.protobuf.Any" && json.as_object().is_some_and(serde_json::Map::is_empty)
    {
        return Ok(Value::Message(DynamicMessage::new(message.clone())));
    }
    let options = DeserializeOptions::new().deny_unknown_fields(!lenient);
    DynamicMessage::deserialize_with_options(message.clone(), json, &options)
        .map(Value::Message)
        .map_err(|error| format!("is no {}: {error}", message.name()))
}
