//! The update mask of a PATCH whose client gave none: the fields that its body names (AIP-134).

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::{
    json::{Json, Object},
    known,
    names::{self, plain_message},
};
use crate::routes::route::Body;

const NAME: &str = "update_mask";

/// The mask of a request, where one can be made from its body: the method is PATCH, and the body one message in it.
pub(crate) fn field(method: &str, body: &Body, input: &MessageDescriptor) -> Option<FieldDescriptor> {
    let Body::Field(body) = body else { return None };
    let patched = !body.is_list() && !body.is_map() && plain_message(body).is_some();
    let mask = input.get_field_by_name(NAME).filter(|mask| !mask.is_list())?;
    let is_mask =
        matches!(mask.kind(), Kind::Message(kind) if kind.full_name() == "google.protobuf.FieldMask");
    (method == "PATCH" && patched && is_mask).then_some(mask)
}

/// The mask that a parameter gives: names of the body's fields, as the contract or as JSON has them.
///
/// # Errors
/// What the text must be.
pub(super) fn named(body: &FieldDescriptor, mask: &FieldDescriptor, text: &str) -> Result<Value, String> {
    let kind = mask.kind();
    let kind = kind.as_message().ok_or("is no mask")?;
    let named = |path: &str| {
        names::contract_path(&plain_message(body)?, path).or_else(|| known::path_of_either(path))
    };
    known::mask(kind, text, named).map(Value::Message)
}

/// Gives a request the mask that its body means, unless it has one.
pub(crate) fn derive(
    message: &mut DynamicMessage,
    mask: &FieldDescriptor,
    body: &FieldDescriptor,
    json: &Json<'_>,
) {
    let (Json::Object(object), Some(patched)) = (json, plain_message(body)) else { return };
    if message.has_field(mask) {
        return;
    }
    let mut paths = Vec::new();
    collect(&patched, object, "", &mut paths);
    let Kind::Message(kind) = mask.kind() else { return };
    let mut value = DynamicMessage::new(kind);
    if !paths.is_empty() && value.try_set_field_by_name("paths", Value::List(paths)).is_ok() {
        message.set_field(mask, Value::Message(value));
    }
}

/// The paths of all that an object names, down to what is no message of fields.
fn collect(message: &MessageDescriptor, object: &Object<'_>, before: &str, paths: &mut Vec<Value>) {
    for (name, json) in object {
        // A lenient edge has passed over it.
        let Some(field) = names::field(message, name) else { continue };
        let path = format!("{before}{}", field.name());
        match (json, plain_message(&field)) {
            (Json::Object(inside), Some(kind)) if !inside.is_empty() => {
                collect(&kind, inside, &format!("{path}."), paths);
            }
            // Null too: it asks for the field to be cleared.
            _ => paths.push(Value::String(path)),
        }
    }
}
