//! Single values: a JSON value or a text becomes the value of a field, by the rules of ProtoJSON
//! (<https://protobuf.dev/programming-guides/json>).

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost_reflect::{EnumDescriptor, Kind, MapKey, Value};

use super::{closed::is_closed, decimal};

/// Names of an enum that a message lists at most.
const LISTED_NAMES: usize = 16;

/// Whether a message has a JSON form of its own.
#[must_use]
pub fn is_well_known(full_name: &str) -> bool {
    let Some(name) = full_name.strip_prefix("google.protobuf.") else { return false };
    name.strip_suffix("Value").is_some_and(|wrapped| {
        ["", "List", "Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes"]
            .contains(&wrapped)
    }) || ["Any", "Timestamp", "Duration", "Struct", "FieldMask", "Empty"].contains(&name)
}

/// A value from a query parameter or a path variable. `kind` is no message.
///
/// # Errors
/// What the text must be, to follow the name of the field.
pub(crate) fn from_text(kind: &Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Bool => boolean(text).map(Value::Bool),
        Kind::Enum(descriptor) => {
            let leaf = text.parse::<i32>().map_or(Leaf::Text(text), |number| Leaf::Integer(number.into()));
            enumeration(descriptor, leaf).map(Value::EnumNumber)
        }
        _ => from_json(kind, Leaf::Text(text)),
    }
}

/// The key of a map.
pub(crate) fn key(kind: &Kind, name: &str) -> Option<MapKey> {
    match kind {
        Kind::Bool => name.parse().ok().map(MapKey::Bool),
        _ => from_json(kind, Leaf::Text(name)).ok()?.into_map_key(),
    }
}

/// A value from JSON. `kind` is no message.
///
/// # Errors
/// What the value must be, to follow the name of the field.
pub(crate) fn from_json(kind: &Kind, leaf: Leaf<'_>) -> Result<Value, String> {
    match kind {
        Kind::Double => double(leaf).map(Value::F64),
        Kind::Float => float(leaf).map(Value::F32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => integer(leaf, "a 32-bit integer").map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => integer(leaf, "a 64-bit integer").map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => integer(leaf, "an unsigned 32-bit integer").map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => integer(leaf, "an unsigned 64-bit integer").map(Value::U64),
        Kind::Bool => match leaf {
            Leaf::Bool(value) => Ok(Value::Bool(value)),
            _ => Err("must be true or false".to_owned()),
        },
        Kind::String => match leaf {
            Leaf::Text(text) => Ok(Value::String(text.to_owned())),
            _ => Err("must be a string".to_owned()),
        },
        Kind::Bytes => bytes(leaf).map(|bytes| Value::Bytes(bytes.into())),
        Kind::Enum(descriptor) => enumeration(descriptor, leaf).map(Value::EnumNumber),
        Kind::Message(_) => Err("must be an object".to_owned()),
    }
}

/// A JSON value that is neither an array nor an object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leaf<'j> {
    Null,
    Bool(bool),
    /// A number without a fraction or an exponent.
    Integer(i128),
    /// Another number, as it is spelled.
    Decimal(&'j str),
    /// Another number, whose digits are lost: no integer can be read from it.
    Double(f64),
    Text(&'j str),
    /// An array or an object.
    Tree,
}

/// A boolean as a parameter: what the clients of grpc-gateway may send (Go's `strconv.ParseBool`).
///
/// # Errors
/// Any other text.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(true),
        "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// An integer: a number without a fraction, or text of one.
///
/// # Errors
/// What it must be.
pub(crate) fn integer<T: TryFrom<i128>>(leaf: Leaf<'_>, what: &str) -> Result<T, String> {
    let wide = match leaf {
        Leaf::Integer(integer) => Some(integer),
        Leaf::Decimal(text) => decimal::whole(text),
        // Rust reads a leading plus, JSON does not. Quoted or not, `1e3` is an integer.
        Leaf::Text(text) if !text.starts_with('+') => text.parse().ok().or_else(|| decimal::whole(text)),
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
        Leaf::Decimal(text) | Leaf::Text(text) if decimal::is_number(text) => {
            text.parse().ok().filter(|value: &f64| value.is_finite())
        }
        _ => None,
    };
    value.ok_or_else(|| "must be a number".to_owned())
}

/// As [`double`], of 32 bits. It is rounded once: by way of a double, a number next to the middle of two floats can become the wrong one.
///
/// # Errors
/// What it must be.
pub(crate) fn float(leaf: Leaf<'_>) -> Result<f32, String> {
    let narrow = match leaf {
        Leaf::Decimal(text) | Leaf::Text(text) if decimal::is_number(text) => text.parse().ok(),
        #[expect(
            clippy::cast_precision_loss,
            reason = "rounding to the nearest is what a float field asks for"
        )]
        Leaf::Integer(value) => Some(value as f32),
        Leaf::Double(value) => narrowed(value),
        #[expect(clippy::cast_possible_truncation, reason = "NaN and the infinities, or an error")]
        _ => return double(leaf).map(|value| value as f32),
    };
    narrow.filter(|value| value.is_finite()).ok_or_else(|| "must be a 32-bit number".to_owned())
}

/// The float next to a double; `None` in the middle of two, where the digits that the double has lost decide.
#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float is what is asked for")]
fn narrowed(wide: f64) -> Option<f32> {
    let narrow = wide as f32;
    let away = wide - f64::from(narrow);
    let other = wide + away;
    (away == 0.0 || f64::from(other as f32).to_bits() != other.to_bits()).then_some(narrow)
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
    let number = match leaf {
        Leaf::Null if is_null => return Ok(0),
        Leaf::Text(name) => return enum_name(descriptor, name),
        Leaf::Integer(number) => Some(number),
        Leaf::Decimal(text) => decimal::whole(text),
        _ => None,
    };
    let number =
        number.and_then(|number| i32::try_from(number).ok()).filter(|number| !is_null || *number == 0);
    enum_number(descriptor, number.ok_or_else(|| expected_name(descriptor))?)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_float_is_rounded_once() {
        // A little above the middle of 1 and the next float; as a double it is the middle, which is rounded to even.
        let text = "1.00000005960464477539062500000000001";
        assert_eq!(float(Leaf::Text(text)), Ok(1.000_000_1));
        assert_eq!(float(Leaf::Decimal(text)), Ok(1.000_000_1));
        float(Leaf::Double(text.parse().expect("a double"))).expect_err("its digits are lost");
        // The largest float, as it is printed and as doubles have it; beyond the middle of it and the next power of two is nothing.
        for text in ["3.4028235e38", "3.4028234663852886e+38", "3.40282356779733661637e38"] {
            assert_eq!(float(Leaf::Text(text)), Ok(f32::MAX), "{text}");
        }
        float(Leaf::Text("3.40282356779733661638e38")).expect_err("too large");
    }

    proptest! {
        #[test]
        fn a_double_is_the_float_that_its_digits_are(value: f64) {
            let text = format!("{value:e}");
            if let (Ok(narrow), true) = (float(Leaf::Double(value)), value.is_finite()) {
                prop_assert_eq!(Ok(narrow), float(Leaf::Decimal(&text)));
            }
        }
    }
}
