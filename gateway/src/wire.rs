//! One field of a message that is wire bytes.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The varint in the field of this number.
pub(crate) fn varint(wire: &[u8], number: u32) -> Option<u64> {
    decode_varint(&mut last(wire, number, WireType::Varint)?).ok()
}

/// The text in the field of this number.
pub(crate) fn text(wire: &[u8], number: u32) -> Option<&str> {
    let mut rest = last(wire, number, WireType::LengthDelimited)?;
    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    std::str::from_utf8(rest.get(..length)?).ok()
}

/// What follows the last tag of this number and type, which is the one that counts.
fn last(mut wire: &[u8], number: u32, kind: WireType) -> Option<&[u8]> {
    let mut found = None;
    while !wire.is_empty() {
        let tag = decode_key(&mut wire).ok()?;
        if tag == (number, kind) {
            found = Some(wire);
        }
        skip_field(tag.1, tag.0, &mut wire, DecodeContext::default()).ok()?;
    }
    found
}
