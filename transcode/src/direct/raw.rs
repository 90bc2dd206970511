//! Single values as they stand on the wire, read by kind.

use super::{
    fallback::NoJson,
    plan::Kind,
    wire::{DELIMITED, FIXED32, FIXED64, VARINT, Wire},
};

/// A value as it stands on the wire.
pub(crate) enum Raw<'w> {
    Bits(u64),
    Slice(&'w [u8]),
}

/// The next value of a kind.
///
/// # Errors
/// Another wire type, or no such value.
pub(crate) fn raw<'w>(kind: &Kind, wire_type: u32, wire: &mut Wire<'w>) -> Result<Raw<'w>, NoJson> {
    if wire_type != kind.wire_type() {
        return Err(NoJson::Fallback);
    }
    let raw = match wire_type {
        VARINT => wire.varint().map(|bits| Raw::Bits(kind.narrow(bits))),
        FIXED32 => wire.fixed32().map(|bits| Raw::Bits(bits.into())),
        FIXED64 => wire.fixed64().map(Raw::Bits),
        _ => wire.delimited().map(Raw::Slice),
    };
    raw.ok_or(NoJson::Fallback)
}

impl Raw<'_> {
    /// Whether it is the same as an absent value. Minus zero is not (<https://protobuf.dev/programming-guides/proto3/#default>).
    pub(crate) fn is_default(&self) -> bool {
        match self {
            Self::Bits(bits) => *bits == 0,
            Self::Slice(bytes) => bytes.is_empty(),
        }
    }
}

impl Kind {
    /// How one value stands on the wire.
    pub(crate) fn wire_type(&self) -> u32 {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => FIXED64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => FIXED32,
            Self::String | Self::Bytes | Self::Message(_) => DELIMITED,
            _ => VARINT,
        }
    }

    /// Whether it is printed as a string because JSON's numbers are too narrow.
    pub(crate) fn is_wide(&self) -> bool {
        matches!(self, Self::Int64 | Self::Uint64 | Self::Sint64 | Self::Fixed64 | Self::Sfixed64)
    }

    /// What an absent value is.
    pub(crate) fn default<'w>(&self) -> Raw<'w> {
        if self.wire_type() == DELIMITED { Raw::Slice(&[]) } else { Raw::Bits(0) }
    }

    /// A varint of more bits than the kind has loses those above.
    fn narrow(&self, bits: u64) -> u64 {
        match self {
            Self::Int32 | Self::Uint32 | Self::Sint32 | Self::Enum(..) | Self::Null => {
                bits & u64::from(u32::MAX)
            }
            Self::Bool => u64::from(bits != 0),
            _ => bits,
        }
    }
}
