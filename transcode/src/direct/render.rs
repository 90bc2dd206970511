//! Wire bytes become JSON text in one pass, without a message between them.
//!
//! It has the text, or [`NoJson::Fallback`] for bytes that are no message or of a rare shape (a field twice, fields out of
//! order, a oneof with two values, groups). Whoever gets that asks the reflective path.

use std::collections::HashSet;

use super::{
    civil,
    fallback::NoJson,
    plan::{Field, Form, Kind, Label, Message, Plans, Seen},
    print,
    raw::{Raw, raw},
    wire::{DELIMITED, Wire},
};
use crate::reflect::{
    self,
    decode::{MOST_BYTES, Unreadable, decode},
    print::Unprintable,
};

/// Messages in messages that are followed; the reflective path, whose limit is 100, decides about more.
const MAX_DEPTH: usize = 64;

type Done = Result<(), NoJson>;

/// Appends the JSON of a message, until there are about as many bytes as there may be at most.
///
/// # Errors
/// Bytes that the reflective path has to look at, or that make too much; what was appended by then is to be thrown away.
pub(crate) fn message(plans: &Plans, message: &Message, wire: &[u8], most: usize, out: &mut Vec<u8>) -> Done {
    Writer { whole: &Whole { plans, most }, depth: MAX_DEPTH }.message(message, wire, out)
}

/// Two words, so that it is handed on in registers.
#[derive(Clone, Copy)]
struct Writer<'p> {
    whole: &'p Whole<'p>,
    /// How many messages may still be opened.
    depth: usize,
}

/// What is the same for all messages of a text.
struct Whole<'p> {
    plans: &'p Plans,
    /// How long the text may be, in bytes. It is looked at where there is no end in the contract: at each item of a field, and before a text.
    most: usize,
}

/// Where the writer is among the fields of a message.
#[derive(Default)]
struct Place<'p> {
    /// The last field, which may go on.
    last: Option<(usize, &'p Field)>,
    /// Whether that field has an array or an object open.
    open: bool,
    oneofs: Seen,
    /// Keys of the open map.
    keys: HashSet<Vec<u8>>,
}

impl<'p> Writer<'p> {
    fn message(self, message: &'p Message, wire: &[u8], out: &mut Vec<u8>) -> Done {
        match message.form {
            Form::Object => {
                let depth = self.depth.checked_sub(1).ok_or(NoJson::Fallback)?;
                Writer { depth, ..self }.object(message, Wire(wire), out)
            }
            Form::Wrapper => {
                let kind = &message.fields.first().ok_or(NoJson::Fallback)?.kind;
                self.value(kind, wrapped(kind, Wire(wire))?, out)
            }
            Form::Timestamp => civil::timestamp(Wire(wire), out),
            Form::Duration => civil::duration(Wire(wire), out),
            Form::WellKnown | Form::Foreign => {
                let read = decode(message.descriptor.clone(), wire, MOST_BYTES);
                let (message, _) = read.map_err(|error| match error {
                    Unreadable::Decode(_) => NoJson::Fallback,
                    Unreadable::TooLarge => NoJson::TooLong,
                })?;
                let most = self.whole.most.saturating_sub(out.len());
                match reflect::print::message(&message, most) {
                    Ok(mut json) => out.append(&mut json),
                    Err(Unprintable::TooLong) => return Err(NoJson::TooLong),
                    Err(Unprintable::NoForm(_)) => return Err(NoJson::Fallback),
                }
                Ok(())
            }
        }
    }

    fn object(self, message: &'p Message, mut wire: Wire<'_>, out: &mut Vec<u8>) -> Done {
        let mut at = Place::default();
        out.push(b'{');
        while !wire.is_empty() {
            let (number, wire_type) = wire.tag().ok_or(NoJson::Fallback)?;
            let from = at.last.map_or(0, |(place, _)| place);
            let Some((place, field)) = message.numbered(number, from) else {
                // One that came before: out of order.
                if message.numbered(number, 0).is_some() {
                    return Err(NoJson::Fallback);
                }
                wire.skip(wire_type).ok_or(NoJson::Fallback)?;
                continue;
            };
            let again = at.last.is_some_and(|(last, _)| last == place);
            if !again {
                at.close(out);
                if field.oneof.is_some_and(|oneof| !at.oneofs.insert(oneof)) {
                    return Err(NoJson::Fallback);
                }
            }
            at.last = Some((place, field));
            match &field.label {
                Label::One { .. } if again => return Err(NoJson::Fallback),
                Label::One { presence } => self.one(field, *presence, wire_type, &mut wire, out)?,
                Label::Many { .. } => self.many(field, wire_type, &mut wire, &mut at, out)?,
                Label::Map { key } => self.entry(field, key, wire_type, &mut wire, &mut at, out)?,
            }
        }
        at.close(out);
        out.push(b'}');
        Ok(())
    }

    fn one(
        self,
        field: &Field,
        presence: bool,
        wire_type: u32,
        wire: &mut Wire<'_>,
        out: &mut Vec<u8>,
    ) -> Done {
        let raw = raw(&field.kind, wire_type, wire)?;
        if !presence && raw.is_default() {
            return Ok(());
        }
        key(field, out);
        self.value(&field.kind, raw, out)
    }

    fn many(
        self,
        field: &'p Field,
        wire_type: u32,
        wire: &mut Wire<'_>,
        at: &mut Place<'p>,
        out: &mut Vec<u8>,
    ) -> Done {
        let kind = &field.kind;
        if wire_type != DELIMITED || kind.wire_type() == DELIMITED {
            let raw = raw(kind, wire_type, wire)?;
            at.item(field, b'[', out);
            self.fits(out, 0)?;
            return self.value(kind, raw, out);
        }
        let mut packed = Wire(wire.delimited().ok_or(NoJson::Fallback)?);
        while !packed.is_empty() {
            let raw = raw(kind, kind.wire_type(), &mut packed)?;
            at.item(field, b'[', out);
            self.fits(out, 0)?;
            self.value(kind, raw, out)?;
        }
        Ok(())
    }

    fn entry(
        self,
        field: &'p Field,
        key: &'p Kind,
        wire_type: u32,
        wire: &mut Wire<'_>,
        at: &mut Place<'p>,
        out: &mut Vec<u8>,
    ) -> Done {
        if wire_type != DELIMITED {
            return Err(NoJson::Fallback);
        }
        let mut entry = Wire(wire.delimited().ok_or(NoJson::Fallback)?);
        let (mut name, mut value) = (None, None);
        while !entry.is_empty() {
            let (number, wire_type) = entry.tag().ok_or(NoJson::Fallback)?;
            let (slot, kind) = match number {
                1 => (&mut name, key),
                2 => (&mut value, &field.kind),
                _ => return Err(NoJson::Fallback),
            };
            if slot.replace(raw(kind, wire_type, &mut entry)?).is_some() {
                return Err(NoJson::Fallback);
            }
        }
        at.item(field, b'{', out);
        self.fits(out, 0)?;
        let start = out.len();
        let quoted = matches!(key.wire_type(), DELIMITED) || key.is_wide();
        if !quoted {
            out.push(b'"');
        }
        self.value(key, name.unwrap_or(key.default()), out)?;
        if !quoted {
            out.push(b'"');
        }
        if !at.keys.insert(out[start..].to_vec()) {
            return Err(NoJson::Fallback);
        }
        out.push(b':');
        self.value(&field.kind, value.unwrap_or(field.kind.default()), out)
    }

    fn value(self, kind: &Kind, raw: Raw<'_>, out: &mut Vec<u8>) -> Done {
        match (kind, raw) {
            (Kind::String, Raw::Slice(bytes)) => {
                let text = std::str::from_utf8(bytes).map_err(|_| NoJson::Fallback)?;
                // Most fit however they are escaped, and are not looked at.
                if self.fits(out, print::LONGEST_ESCAPE * text.len()).is_err() {
                    self.fits(out, print::length(text))?;
                }
                print::print(text, out)
            }
            (Kind::Bytes, Raw::Slice(bytes)) => {
                self.fits(out, print::length_of_base64(bytes))?;
                print::base64(bytes, out);
                Ok(())
            }
            (Kind::Message(place), Raw::Slice(bytes)) => {
                self.message(self.whole.plans.message(*place), bytes, out)
            }
            (_, Raw::Bits(bits)) => print::number(kind, bits, out),
            _ => Err(NoJson::Fallback),
        }
    }

    /// Whether so many bytes more are not too many.
    fn fits(self, out: &[u8], more: usize) -> Done {
        if out.len() + more <= self.whole.most { Ok(()) } else { Err(NoJson::TooLong) }
    }
}

/// The value of a wrapper.
fn wrapped<'w>(kind: &Kind, mut wire: Wire<'w>) -> Result<Raw<'w>, NoJson> {
    let mut value = kind.default();
    while !wire.is_empty() {
        match wire.tag().ok_or(NoJson::Fallback)? {
            (1, wire_type) => value = raw(kind, wire_type, &mut wire)?,
            (_, wire_type) => wire.skip(wire_type).ok_or(NoJson::Fallback)?,
        }
    }
    Ok(value)
}

impl<'p> Place<'p> {
    /// Begins the next item of a field's array or object.
    fn item(&mut self, field: &Field, bracket: u8, out: &mut Vec<u8>) {
        if self.open {
            out.push(b',');
        } else {
            self.open = true;
            key(field, out);
            out.push(bracket);
        }
    }

    /// Ends the array or the object of the last field.
    fn close(&mut self, out: &mut Vec<u8>) {
        if let (true, Some((_, field))) = (self.open, self.last) {
            if let Label::Map { .. } = field.label {
                out.push(b'}');
                self.keys.clear();
            } else {
                out.push(b']');
            }
        }
        self.open = false;
    }
}

/// Begins a member.
fn key(field: &Field, out: &mut Vec<u8>) {
    // No value ends in a brace that opens.
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.extend_from_slice(&field.key);
}
