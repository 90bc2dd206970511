//! Single values become wire bytes, by the same rules as [`super::scalar`].

use super::{
    plan::Kind,
    wire::{DELIMITED, FIXED32, FIXED64, VARINT, put_delimited, put_tag, put_varint},
};
use crate::bind::scalar::{self, Leaf};

/// A value that does not fit, or that the hot path does not know: the reflective path says which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Misfit;

impl From<String> for Misfit {
    fn from(_: String) -> Self {
        Self
    }
}

/// A scalar as it stands on the wire.
enum Scalar<'j> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
    Text(&'j str),
    Bytes(Vec<u8>),
}

/// Appends a value that is no message, with the tag of `number` if there is one; nothing if it is a default and
/// `skip_default`.
///
/// # Errors
/// A value that does not fit.
pub(crate) fn leaf(
    kind: &Kind,
    number: Option<u32>,
    leaf: Leaf<'_>,
    skip_default: bool,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let scalar = scalar(kind, leaf)?;
    if skip_default && scalar.is_default() {
        return Ok(());
    }
    if let Some(number) = number {
        put_tag(out, number, scalar.wire_type());
    }
    match scalar {
        Scalar::Varint(value) => put_varint(out, value),
        Scalar::Fixed32(bytes) => out.extend(bytes),
        Scalar::Fixed64(bytes) => out.extend(bytes),
        Scalar::Text(text) => put_delimited(out, |out| out.extend(text.as_bytes())),
        Scalar::Bytes(bytes) => put_delimited(out, |out| out.extend(bytes)),
    }
    Ok(())
}

/// Appends the key of a map's entry.
///
/// # Errors
/// A name that is no such key.
pub(crate) fn key(kind: &Kind, name: &str, out: &mut Vec<u8>) -> Result<(), Misfit> {
    let value = match kind {
        Kind::Bool => Leaf::Bool(name.parse().map_err(|_| Misfit)?),
        _ => Leaf::Text(name),
    };
    leaf(kind, Some(1), value, false, out)
}

/// What a text says of a value of this kind, in a query parameter or a path variable (see [`crate::bind::text::from_text`]).
///
/// # Errors
/// Text that does not fit, or a kind that text cannot express here.
pub(crate) fn textual<'t>(kind: &Kind, text: &'t str) -> Result<Leaf<'t>, Misfit> {
    Ok(match kind {
        Kind::Bool => Leaf::Bool(scalar::boolean(text)?),
        Kind::Enum(..) => text.parse::<i32>().map_or(Leaf::Text(text), |number| Leaf::Integer(number.into())),
        Kind::Null | Kind::Message(_) => return Err(Misfit),
        _ => Leaf::Text(text),
    })
}

fn scalar<'j>(kind: &Kind, leaf: Leaf<'j>) -> Result<Scalar<'j>, Misfit> {
    // The wording is the reflective path's.
    const ANY: &str = "";
    Ok(match kind {
        Kind::Double => Scalar::Fixed64(scalar::double(leaf)?.to_le_bytes()),
        Kind::Float => Scalar::Fixed32(scalar::float(leaf)?.to_le_bytes()),
        Kind::Int32 => Scalar::Varint(i64::from(scalar::integer::<i32>(leaf, ANY)?).cast_unsigned()),
        Kind::Int64 => Scalar::Varint(scalar::integer::<i64>(leaf, ANY)?.cast_unsigned()),
        Kind::Uint32 => Scalar::Varint(scalar::integer::<u32>(leaf, ANY)?.into()),
        Kind::Uint64 => Scalar::Varint(scalar::integer(leaf, ANY)?),
        Kind::Sint32 => Scalar::Varint(zigzag(scalar::integer::<i32>(leaf, ANY)?.into())),
        Kind::Sint64 => Scalar::Varint(zigzag(scalar::integer(leaf, ANY)?)),
        Kind::Fixed32 => Scalar::Fixed32(scalar::integer::<u32>(leaf, ANY)?.to_le_bytes()),
        Kind::Fixed64 => Scalar::Fixed64(scalar::integer::<u64>(leaf, ANY)?.to_le_bytes()),
        Kind::Sfixed32 => Scalar::Fixed32(scalar::integer::<i32>(leaf, ANY)?.to_le_bytes()),
        Kind::Sfixed64 => Scalar::Fixed64(scalar::integer::<i64>(leaf, ANY)?.to_le_bytes()),
        Kind::Bool => match leaf {
            Leaf::Bool(value) => Scalar::Varint(value.into()),
            _ => return Err(Misfit),
        },
        Kind::String => match leaf {
            Leaf::Text(text) => Scalar::Text(text),
            _ => return Err(Misfit),
        },
        Kind::Bytes => Scalar::Bytes(scalar::bytes(leaf)?),
        Kind::Enum(descriptor, _) => {
            Scalar::Varint(i64::from(scalar::enumeration(descriptor, leaf)?).cast_unsigned())
        }
        Kind::Null => match leaf {
            Leaf::Null | Leaf::Integer(0) | Leaf::Text("NULL_VALUE") => Scalar::Varint(0),
            _ => return Err(Misfit),
        },
        Kind::Message(_) => return Err(Misfit),
    })
}

impl Scalar<'_> {
    fn wire_type(&self) -> u32 {
        match self {
            Self::Varint(_) => VARINT,
            Self::Fixed32(_) => FIXED32,
            Self::Fixed64(_) => FIXED64,
            Self::Text(_) | Self::Bytes(_) => DELIMITED,
        }
    }

    /// Whether it is the same as an absent value. Minus zero is not (<https://protobuf.dev/programming-guides/proto3/#default>).
    fn is_default(&self) -> bool {
        match self {
            Self::Varint(value) => *value == 0,
            Self::Fixed32(bytes) => bytes == &[0; 4],
            Self::Fixed64(bytes) => bytes == &[0; 8],
            Self::Text(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }
}

/// Small magnitudes become small varints, whatever their sign.
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}
