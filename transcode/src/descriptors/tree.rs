//! A message of descriptor.proto as the list of its fields: it can be changed in places, and what nobody here knows (options of others,
//! fields of later versions) stays as it came.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};

/// Messages within messages, at most: as many as prost reads.
const DEEPEST: usize = 100;

/// Bytes that are no message, or not one that is understood.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(pub(crate) String);

/// The fields of a message, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree(Vec<(u32, Value)>);

/// The value of a field.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Varint(u64),
    /// A text, bytes, a message, or packed numbers.
    Bytes(Bytes),
    /// A number of fixed length or a group, with its tags.
    Other(Bytes),
}

/// Refuses what is nested more deeply than is read.
pub(crate) fn check_depth(depth: usize) -> Result<(), Unreadable> {
    if depth > DEEPEST { Err(Unreadable("messages are nested too deeply".to_owned())) } else { Ok(()) }
}

impl From<prost::DecodeError> for Unreadable {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

impl Tree {
    pub(crate) fn read(mut bytes: Bytes) -> Result<Self, Unreadable> {
        let mut fields = Vec::new();
        while bytes.has_remaining() {
            let whole = bytes.clone();
            let (number, kind) = decode_key(&mut bytes)?;
            let value = match kind {
                WireType::Varint => Value::Varint(decode_varint(&mut bytes)?),
                WireType::LengthDelimited => {
                    let length = usize::try_from(decode_varint(&mut bytes)?).ok();
                    let length = length.filter(|length| *length <= bytes.len());
                    let length = length.ok_or_else(|| Unreadable("a field ends too early".to_owned()))?;
                    Value::Bytes(bytes.split_to(length))
                }
                kind => {
                    skip_field(kind, number, &mut bytes, DecodeContext::default())?;
                    Value::Other(whole.slice(..whole.len() - bytes.len()))
                }
            };
            fields.push((number, value));
        }
        Ok(Self(fields))
    }

    pub(crate) fn write(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        for (number, value) in &self.0 {
            match value {
                Value::Varint(value) => {
                    encode_key(*number, WireType::Varint, &mut bytes);
                    encode_varint(*value, &mut bytes);
                }
                Value::Bytes(value) => {
                    encode_key(*number, WireType::LengthDelimited, &mut bytes);
                    encode_varint(value.len() as u64, &mut bytes);
                    bytes.put_slice(value);
                }
                Value::Other(raw) => bytes.put_slice(raw),
            }
        }
        bytes.freeze()
    }

    fn values(&self, number: u32) -> impl DoubleEndedIterator<Item = &Value> {
        self.0.iter().filter(move |(at, _)| *at == number).map(|(_, value)| value)
    }

    /// Every text, bytes or message of a field.
    pub(crate) fn each(&self, number: u32) -> impl DoubleEndedIterator<Item = &Bytes> {
        self.values(number).filter_map(|value| match value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Varint(_) | Value::Other(_) => None,
        })
    }

    /// Every number of a field that is not packed.
    pub(crate) fn varints(&self, number: u32) -> impl DoubleEndedIterator<Item = u64> {
        self.values(number).filter_map(|value| match value {
            Value::Varint(value) => Some(*value),
            Value::Bytes(_) | Value::Other(_) => None,
        })
    }

    /// Every text of a field.
    pub(crate) fn texts(&self, number: u32) -> impl Iterator<Item = String> {
        self.each(number).map(|text| String::from_utf8_lossy(text).into_owned())
    }

    /// A text, empty where there is none.
    pub(crate) fn text(&self, number: u32) -> String {
        self.each(number)
            .next_back()
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .unwrap_or_default()
    }

    /// A number.
    pub(crate) fn varint(&self, number: u32) -> Option<u64> {
        self.varints(number).next_back()
    }

    /// A message, empty where there is none. Of several the fields count together.
    pub(crate) fn message(&self, number: u32) -> Result<Self, Unreadable> {
        let mut whole = BytesMut::new();
        self.each(number).for_each(|part| whole.put_slice(part));
        Self::read(whole.freeze())
    }

    pub(crate) fn push(&mut self, number: u32, value: Value) {
        self.0.push((number, value));
    }

    pub(crate) fn remove(&mut self, number: u32) {
        self.0.retain(|(at, _)| *at != number);
    }

    pub(crate) fn set(&mut self, number: u32, value: Value) {
        self.remove(number);
        self.push(number, value);
    }

    /// Keeps the texts, bytes or messages of a field that `is_kept` chooses.
    pub(crate) fn retain(&mut self, number: u32, mut is_kept: impl FnMut(&Bytes) -> bool) {
        self.0.retain(|(at, value)| match value {
            Value::Bytes(bytes) if *at == number => is_kept(bytes),
            _ => true,
        });
    }

    /// Changes every message of a field.
    pub(crate) fn edit(
        &mut self,
        number: u32,
        change: &mut dyn FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        for (at, value) in &mut self.0 {
            if let Value::Bytes(bytes) = value
                && *at == number
            {
                let mut message = Self::read(bytes.clone())?;
                change(&mut message)?;
                *bytes = message.write();
            }
        }
        Ok(())
    }
}
