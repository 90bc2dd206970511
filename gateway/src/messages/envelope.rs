//! The envelope of a message, which is the same in gRPC and Connect: a byte of flags, the length in four, and the message.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Bytes before a message.
pub(crate) const PREFIX: usize = 5;

/// The message is compressed.
pub(crate) const COMPRESSED: u8 = 1;
/// It is none: it says how the stream ended.
pub(crate) const END: u8 = 2;

/// A message in its envelope.
pub(crate) fn enveloped(flags: u8, message: &[u8]) -> Bytes {
    let mut envelope = BytesMut::with_capacity(PREFIX + message.len());
    envelope.put_u8(flags);
    // Messages of both directions are bounded far below.
    envelope.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    envelope.put_slice(message);
    envelope.freeze()
}

/// A message is longer than is taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Envelopes as they come.
#[derive(Debug, Default)]
pub(crate) struct Envelopes(BytesMut);

impl Envelopes {
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next one that is whole: its flags, and its message of `most` bytes.
    ///
    /// # Errors
    /// For a message that is longer.
    pub(crate) fn next(&mut self, most: usize) -> Result<Option<(u8, Bytes)>, TooLong> {
        let Some((prefix, rest)) = self.0.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let [flags, length @ ..] = *prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > most {
            return Err(TooLong);
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.0.advance(PREFIX);
        Ok(Some((flags, self.0.split_to(length).freeze())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_once_it_is_whole() {
        let bytes = [enveloped(0, b"ab"), enveloped(END, b""), enveloped(COMPRESSED, b"xyz")].concat();
        for parts in [1, 2, 3, bytes.len()] {
            let (mut envelopes, mut found) = (Envelopes::default(), Vec::new());
            for part in bytes.chunks(parts) {
                envelopes.push(part);
                while let Some((flags, message)) = envelopes.next(3).expect("short") {
                    found.push((flags, message.to_vec()));
                }
            }
            assert_eq!(found, [(0, b"ab".to_vec()), (END, Vec::new()), (COMPRESSED, b"xyz".to_vec())]);
            assert!(envelopes.is_empty());
        }
        let mut envelopes = Envelopes::default();
        envelopes.push(&enveloped(0, b"xyz"));
        assert_eq!(envelopes.next(2), Err(TooLong));
    }
}
