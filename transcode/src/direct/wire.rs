//! The wire format (<https://protobuf.dev/programming-guides/encoding>), as far as the flat tables need it.

/// A varint's value.
pub(crate) const VARINT: u32 = 0;
/// Eight bytes.
pub(crate) const FIXED64: u32 = 1;
/// A length, and so many bytes.
pub(crate) const DELIMITED: u32 = 2;
/// The fields of a group, up to [`END_GROUP`].
pub(crate) const START_GROUP: u32 = 3;
/// The end of a group.
pub(crate) const END_GROUP: u32 = 4;
/// Four bytes.
pub(crate) const FIXED32: u32 = 5;

/// What is left of a message that is being read. Every method gives `None` at bytes that are no message, and at groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire<'w>(pub(crate) &'w [u8]);

impl<'w> Wire<'w> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number and the wire type of the next field.
    pub(crate) fn tag(&mut self) -> Option<(u32, u32)> {
        let tag = u32::try_from(self.varint()?).ok()?;
        (tag >> 3 != 0).then_some((tag >> 3, tag & 7))
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (place, &byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                self.0 = &self.0[place + 1..];
                // The tenth byte has room for one bit.
                return (place < 9 || byte < 2).then_some(value);
            }
        }
        None
    }

    pub(crate) fn fixed32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*bytes))
    }

    pub(crate) fn fixed64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    pub(crate) fn delimited(&mut self) -> Option<&'w [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Passes over a field that the contract does not know.
    pub(crate) fn skip(&mut self, wire_type: u32) -> Option<()> {
        match wire_type {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            DELIMITED => self.delimited().map(drop),
            FIXED32 => self.fixed32().map(drop),
            _ => None,
        }
    }
}

/// Appends a field's tag.
pub(crate) fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u32) {
    put_varint(out, u64::from(number << 3 | wire_type));
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: u64) {
    prost::encoding::encode_varint(value, out);
}

/// Appends what `write` appends, with its length before it: one byte is set aside, which is enough for nearly all.
pub(crate) fn put_delimited<T>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let start = out.len();
    out.push(0);
    let written = write(out);
    let length = out.len() - start - 1;
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out[start] = short,
        _ => {
            let mut prefix = Vec::with_capacity(10);
            put_varint(&mut prefix, length as u64);
            out.splice(start..=start, prefix);
        }
    }
    written
}
