//! Wire bytes become a message of prost-reflect, which may take hundreds of times as much memory: a null in a list has four bytes on the wire,
//! and some seven hundred as a value. So it is counted before.

use bytes::Buf;
use prost::DecodeError;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor};

use crate::direct::wire::{DELIMITED, END_GROUP, START_GROUP, Wire};

/// What the values of a message may take, in bytes, about.
pub(crate) const MOST_BYTES: usize = 256 << 20;

/// What a message takes beside its first field: a node of its table, with room for eleven.
pub(crate) const MESSAGE: usize = 640;
/// What a field takes, or a value among many: tables and lists have room for more than they hold.
pub(crate) const VALUE: usize = 128;

/// So short a message is within the bounds whatever it holds, and is not looked at: at its worst a value of each two bytes.
const SHORT: usize = MOST_BYTES / 8 / (MESSAGE + VALUE) * 2;

/// Messages in messages that are followed; whatever has more is no message to the reader either.
const MAX_DEPTH: usize = 100;

/// Why there is no message.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The bytes are none.
    Decode(DecodeError),
    /// It would take more memory than it may.
    TooLarge,
}

/// The message, and how much of `most` bytes is left of those that its values may take.
///
/// # Errors
/// Bytes that are no such message, or one that takes more.
pub(crate) fn decode(
    descriptor: MessageDescriptor,
    wire: impl Buf + AsRef<[u8]>,
    most: usize,
) -> Result<(DynamicMessage, usize), Unreadable> {
    let mut count = Count { left: most };
    if wire.as_ref().len() <= SHORT {
        count.take(wire.as_ref().len().div_ceil(2) * (MESSAGE + VALUE)).ok_or(Unreadable::TooLarge)?;
    } else {
        // What cannot be read to its end is the reader's to refuse.
        match count.message(Some(&descriptor), &mut Wire(wire.as_ref()), MAX_DEPTH) {
            Ok(()) | Err(Stop::Malformed) => {}
            Err(Stop::TooLarge) => return Err(Unreadable::TooLarge),
        }
    }
    let message = DynamicMessage::decode(descriptor, wire).map_err(Unreadable::Decode)?;
    Ok((message, count.left))
}

/// Why the counting ended early.
enum Stop {
    Malformed,
    TooLarge,
}

/// What may still be taken.
struct Count {
    left: usize,
}

impl Count {
    fn take(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        Some(())
    }

    /// Counts the fields of a message; `None` for one of which nothing is known, such as an unknown group.
    fn message(
        &mut self,
        descriptor: Option<&MessageDescriptor>,
        wire: &mut Wire<'_>,
        depth: usize,
    ) -> Result<(), Stop> {
        let depth = depth.checked_sub(1).ok_or(Stop::Malformed)?;
        self.take(MESSAGE).ok_or(Stop::TooLarge)?;
        while !wire.is_empty() {
            let (number, wire_type) = wire.tag().ok_or(Stop::Malformed)?;
            if wire_type == END_GROUP {
                return Ok(());
            }
            self.take(VALUE).ok_or(Stop::TooLarge)?;
            match (wire_type, descriptor.and_then(|descriptor| kind(descriptor, number))) {
                (START_GROUP, Some(Kind::Message(inner))) => self.message(Some(&inner), wire, depth)?,
                (START_GROUP, _) => self.message(None, wire, depth)?,
                (DELIMITED, kind) => {
                    let data = wire.delimited().ok_or(Stop::Malformed)?;
                    match kind {
                        Some(Kind::Message(inner)) => {
                            self.message(Some(&inner), &mut Wire(data), depth)?;
                        }
                        Some(kind) => self.take(values(&kind, data)).ok_or(Stop::TooLarge)?,
                        None => self.take(data.len()).ok_or(Stop::TooLarge)?,
                    }
                }
                _ => wire.skip(wire_type).ok_or(Stop::Malformed)?,
            }
        }
        Ok(())
    }
}

fn kind(descriptor: &MessageDescriptor, number: u32) -> Option<Kind> {
    let field = descriptor.get_field(number).map(|field| field.kind());
    field.or_else(|| descriptor.get_extension(number).map(|extension| extension.kind()))
}

/// What becomes of a delimited field that holds no message: a text, bytes, or packed numbers.
fn values(kind: &Kind, data: &[u8]) -> usize {
    let values = match kind {
        Kind::String | Kind::Bytes => return data.len(),
        Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => data.len() / 4,
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => data.len() / 8,
        // A varint ends with a byte below 128.
        _ => data.iter().filter(|byte| **byte < 0x80).count(),
    };
    values * VALUE
}
