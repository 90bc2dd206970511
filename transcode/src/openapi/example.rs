//! Examples of requests: what they must have, and nothing else.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::schema::Schemas;
use crate::bind::scalar::is_well_known;

/// Messages in messages that an example goes into.
const EXAMPLE_DEPTH: usize = 4;

impl Schemas {
    /// A request with the fields that it must have.
    pub(crate) fn example(
        &self,
        message: &MessageDescriptor,
        without: &[FieldDescriptor],
        depth: usize,
    ) -> Value {
        let mut object = Map::new();
        for field in message.fields().filter(|field| !without.contains(field)) {
            if self.requires(&field) && depth < EXAMPLE_DEPTH {
                object.insert(field.json_name().to_owned(), self.example_of(&field, depth));
            }
        }
        object.into()
    }

    /// A value that a field could have.
    pub(crate) fn example_of(&self, field: &FieldDescriptor, depth: usize) -> Value {
        let one = match field.kind() {
            _ if field.is_map() => return json!({}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => json!("1000"),
            Kind::String => json!("example"),
            Kind::Bytes => json!("AQI="),
            Kind::Bool => json!(true),
            Kind::Enum(descriptor) => {
                // The first value is what an absent field has.
                let name = descriptor.values().nth(1).map(|value| value.name().to_owned());
                name.map_or(Value::Null, Value::from)
            }
            Kind::Message(message) if is_well_known(message.full_name()) => match message.name() {
                "Timestamp" => json!("2026-01-31T12:00:00Z"),
                "Duration" => json!("1.500s"),
                "Struct" | "Empty" => json!({}),
                _ => json!(null),
            },
            Kind::Message(message) => self.example(&message, &[], depth + 1),
            _ => json!(1),
        };
        if field.is_list() { json!([one]) } else { one }
    }
}
