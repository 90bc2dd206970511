//! Headers that stand for fields of a message: those that a route binds, for a message that is wire bytes already.

use bytes::Bytes;
use chassis::status::{Fault, Reason};
use http::HeaderMap;
use prost_reflect::MessageDescriptor;

use super::headers;
use crate::wire;

/// The message with its key (`Idempotency-Key`) and, where the call may change something, its condition (`If-Match`).
///
/// # Errors
/// INVALID_FIELD for a key that differs from the one in the message; MALFORMED_REQUEST; PRECONDITION_UNSUPPORTED.
pub(crate) fn bound(
    message: Bytes,
    headers: &HeaderMap,
    kind: &MessageDescriptor,
    is_read: bool,
) -> Result<Bytes, Fault> {
    let mut further = headers::condition(headers, kind, is_read)?;
    let field = headers::text_field(kind, "request_id");
    if let (Some(key), Some(field)) = (headers::idempotency_key(headers)?, field) {
        match wire::text(&message, field.number()).unwrap_or_default() {
            "" => prost::encoding::string::encode(field.number(), &key, &mut further),
            own if own == key => {}
            _ => {
                let problem = "differs from the header Idempotency-Key";
                return Err(Fault::of_field(Reason::InvalidField, field.json_name(), problem));
            }
        }
    }
    Ok(if further.is_empty() { message } else { [&message[..], &further].concat().into() })
}
