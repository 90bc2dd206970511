//! Bodies that are no JSON: `google.api.HttpBody`, bytes with their type, as a request and as a response.

use bytes::Bytes;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::direct::wire::{DELIMITED, Wire};

const NAME: &str = "google.api.HttpBody";

/// The numbers of its fields.
const CONTENT_TYPE: u32 = 1;
const DATA: u32 = 2;

/// Bytes as HTTP carries them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The value of `Content-Type`; empty when the service does not say.
    pub content_type: String,
    /// The body.
    pub data: Bytes,
}

/// Whether a message is such a body.
pub(crate) fn is_payload(message: &MessageDescriptor) -> bool {
    message.full_name() == NAME
}

/// Whether a field holds one.
pub(crate) fn holds_payload(field: &FieldDescriptor) -> bool {
    !field.is_list() && matches!(field.kind(), Kind::Message(message) if is_payload(&message))
}

/// The message of a body that a client sent.
pub(crate) fn message(descriptor: &MessageDescriptor, content_type: &str, data: &[u8]) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    message.set_field_by_number(CONTENT_TYPE, Value::String(content_type.to_owned()));
    message.set_field_by_number(DATA, Value::Bytes(Bytes::copy_from_slice(data)));
    message
}

/// The body in a response, or in this field of one; `None` for bytes that are no message.
pub(crate) fn of_response(wire: &Bytes, field: Option<u32>) -> Option<Payload> {
    let mut payload = Payload { content_type: String::new(), data: Bytes::new() };
    let Some(field) = field else { return payload.read(wire, wire).map(|()| payload) };
    let mut fields = Wire(wire);
    while !fields.is_empty() {
        match fields.tag()? {
            // One that comes twice is merged: of both, the later values hold.
            (number, DELIMITED) if number == field => payload.read(wire, fields.delimited()?)?,
            (_, wire_type) => fields.skip(wire_type)?,
        }
    }
    Some(payload)
}

impl Payload {
    /// Reads the fields of `part`, a part of `wire`, whose bytes are shared and not copied.
    fn read(&mut self, wire: &Bytes, part: &[u8]) -> Option<()> {
        let mut fields = Wire(part);
        while !fields.is_empty() {
            match fields.tag()? {
                (CONTENT_TYPE, DELIMITED) => {
                    self.content_type = std::str::from_utf8(fields.delimited()?).ok()?.to_owned();
                }
                (DATA, DELIMITED) => self.data = wire.slice_ref(fields.delimited()?),
                (_, wire_type) => fields.skip(wire_type)?,
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_found_wherever_it_is() {
        let body = b"\x0a\x03a/b\x12\x02hi";
        let expected = Payload { content_type: "a/b".into(), data: Bytes::from_static(b"hi") };
        assert_eq!(of_response(&Bytes::from_static(body), None), Some(expected.clone()));
        let inside = [&[0x08, 1, 0x3a, 9][..], body, &[0x10, 2]].concat();
        assert_eq!(of_response(&inside.into(), Some(7)), Some(expected));
        assert_eq!(of_response(&Bytes::from_static(b"\x0a\x7f"), None), None);
        let nothing = of_response(&Bytes::new(), None).expect("an empty one");
        assert!(nothing.content_type.is_empty() && nothing.data.is_empty());
    }
}
