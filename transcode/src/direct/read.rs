//! JSON text becomes wire bytes in one pass, without a tree of either.
//!
//! It has two outcomes: the bytes, or an error that says only that this reader is not sure. Whoever gets the error asks the
//! reflective path ([`crate::bind`]), which knows every rare shape and words what is wrong.

mod known;

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    plan::{Field, Form, Kind, Label, Message, Plans, Seen},
    put::{self, Misfit},
    wire::{DELIMITED, put_delimited, put_tag},
};
use crate::bind::{json::Level, scalar::Leaf};

/// What every level of a text shares.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'p> {
    pub(crate) plans: &'p Plans,
}

/// The members of an object, to be appended as fields.
pub(crate) struct Members<'a> {
    pub(crate) reader: Reader<'a>,
    pub(crate) message: &'a Message,
    pub(crate) level: Level,
    pub(crate) seen: &'a mut Seen,
    pub(crate) oneofs: &'a mut Seen,
    pub(crate) out: &'a mut Vec<u8>,
}

/// One field, to be appended; whether it is there at all (null is not).
pub(crate) struct Member<'a> {
    pub(crate) reader: Reader<'a>,
    pub(crate) field: &'a Field,
    pub(crate) level: Level,
    pub(crate) out: &'a mut Vec<u8>,
}

/// One value, to be appended with the tag of `number`, or without any where `number` is `None` (a packed list).
struct Element<'a> {
    reader: Reader<'a>,
    kind: &'a Kind,
    number: Option<u32>,
    level: Level,
    out: &'a mut Vec<u8>,
    /// Whether a default is left out, as where it is the same as absence.
    skip_default: bool,
    /// Whether null stands for an absent value.
    nullable: bool,
}

impl Misfit {
    fn error<E: Error>(self) -> E {
        E::custom("for the reflective path")
    }
}

fn fall_back<E: Error>() -> E {
    Misfit.error()
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { reader, message, level, seen, oneofs, out } = self;
        let level = level.deeper()?;
        while let Some((place, field)) = members.next_key_seed(Name(message))? {
            if !seen.insert(place) {
                return Err(fall_back());
            }
            let there = members.next_value_seed(Member { reader, field, level, out })?;
            if there && field.oneof.is_some_and(|oneof| !oneofs.insert(oneof)) {
                return Err(fall_back());
            }
        }
        Ok(())
    }
}

/// The name of a member, as the field it means.
struct Name<'a>(&'a Message);

impl<'de, 'a> DeserializeSeed<'de> for Name<'a> {
    type Value = (usize, &'a Field);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Name<'a> {
    type Value = (usize, &'a Field);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        self.0.named(name).ok_or_else(fall_back)
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        match self.field.label {
            Label::One { presence } => Element {
                reader: self.reader,
                kind: &self.field.kind,
                number: Some(self.field.number),
                level: self.level,
                out: self.out,
                skip_default: !presence,
                nullable: true,
            }
            .deserialize(deserializer),
            Label::Many { .. } | Label::Map { .. } => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let Self { reader, field, level, out } = self;
        let Label::Many { packed } = field.label else { return Err(fall_back()) };
        let (kind, level) = (&field.kind, level.deeper()?);
        let number = (!packed).then_some(field.number);
        let mut all = |out: &mut Vec<u8>| {
            loop {
                let nullable = false;
                let element = Element { reader, kind, number, level, out, skip_default: false, nullable };
                if items.next_element_seed(element)?.is_none() {
                    return Ok(());
                }
            }
        };
        if packed {
            put_tag(out, field.number, DELIMITED);
            put_delimited(out, all)?;
        } else {
            all(out)?;
        }
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<bool, A::Error> {
        let Self { reader, field, level, out } = self;
        let Label::Map { key } = &field.label else { return Err(fall_back()) };
        let (kind, level) = (&field.kind, level.deeper()?);
        let mut keys = HashSet::new();
        while let Some(name) = entries.next_key::<String>()? {
            put_tag(out, field.number, DELIMITED);
            put_delimited(out, |out| {
                let start = out.len();
                put::key(key, &name, out).map_err(Misfit::error)?;
                // `1` and `01` are one key.
                if !keys.insert(out[start..].to_vec()) {
                    return Err(fall_back());
                }
                let (number, skip_default, nullable) = (Some(2), false, false);
                let value = Element { reader, kind, number, level, out, skip_default, nullable };
                entries.next_value_seed(value).map(drop)
            })?;
        }
        Ok(true)
    }
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        let Kind::Message(place) = *self.kind else { return deserializer.deserialize_any(self) };
        let message = self.reader.plans.message(place);
        match message.form {
            Form::Object => deserializer.deserialize_any(self),
            Form::Foreign => Err(fall_back()),
            Form::Wrapper | Form::Timestamp | Form::Duration => deserializer.deserialize_any(self),
            Form::WellKnown => self.tree(&message.descriptor, deserializer),
        }
    }
}

impl Element<'_> {
    fn leaf<E: Error>(self, leaf: Leaf<'_>) -> Result<bool, E> {
        if self.nullable && matches!(leaf, Leaf::Null) && !matches!(self.kind, Kind::Null) {
            return Ok(false);
        }
        match *self.kind {
            Kind::Message(place) => self.known(place, leaf),
            _ => put::leaf(self.kind, self.number, leaf, self.skip_default, self.out),
        }
        .map_err(Misfit::error)?;
        Ok(true)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        self.leaf(Leaf::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        self.leaf(Leaf::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        self.leaf(Leaf::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        self.leaf(Leaf::Integer(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<bool, E> {
        self.leaf(Leaf::Double(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<bool, E> {
        self.leaf(Leaf::Text(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<bool, A::Error> {
        let (Kind::Message(place), Some(number)) = (self.kind, self.number) else { return Err(fall_back()) };
        let (reader, level) = (self.reader, self.level);
        let message = reader.plans.message(*place);
        if message.form != Form::Object {
            return Err(fall_back());
        }
        put_tag(self.out, number, DELIMITED);
        put_delimited(self.out, |out| {
            let (seen, oneofs) = (&mut Seen::default(), &mut Seen::default());
            Members { reader, message, level, seen, oneofs, out }.visit_map(members)
        })?;
        Ok(true)
    }
}
