//! JSON schemas of messages and fields, as ProtoJSON prints them (<https://protobuf.dev/programming-guides/json>).

use std::collections::{BTreeMap, HashMap, HashSet};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{
    decimals,
    options::{is_output_only, is_required, limits},
};
use crate::{bind::scalar::is_well_known, comments::Comments};

/// Names of components that are no messages.
pub(crate) const ERROR: &str = "Error";
pub(crate) const ERROR_DETAIL: &str = "ErrorDetail";
pub(crate) const PROBLEM: &str = "Problem";

/// The messages that a document refers to.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    /// Those whose schemas are yet to be made, and others, by their full names.
    referred: BTreeMap<String, MessageDescriptor>,
    /// Names of components by the full names of their messages.
    names: HashMap<String, String>,
    /// Fields that a request may leave out whatever their options say, by their full names.
    optional: HashSet<String>,
}

impl Schemas {
    /// Those that these messages may refer to. A component has the name of its message without the package, or with it where two would have
    /// the same: generators make types of these names.
    pub(crate) fn of<'m>(messages: impl Iterator<Item = &'m MessageDescriptor>) -> Self {
        let mut all = BTreeMap::new();
        messages.for_each(|message| reach(message, &mut all));
        let mut short: BTreeMap<String, Vec<&str>> =
            [ERROR, ERROR_DETAIL, PROBLEM].map(|taken| (taken.to_owned(), vec![taken])).into();
        for (full, package) in &all {
            let name = full.strip_prefix(package).unwrap_or(full).trim_start_matches('.');
            short.entry(name.replace('.', "_")).or_default().push(full);
        }
        let mut names = HashMap::new();
        for (name, of) in &short {
            for full in of {
                let name = if of.len() == 1 { name.clone() } else { full.replace('.', "_") };
                names.insert((*full).to_owned(), name);
            }
        }
        Self { referred: BTreeMap::new(), names, optional: HashSet::new() }
    }

    /// Requests may leave out what is at these paths.
    pub(crate) fn make_optional<'m>(
        &mut self,
        paths: impl Iterator<Item = (&'m MessageDescriptor, &'m str)>,
    ) {
        let fields = paths.filter_map(|(request, path)| at(request, path));
        self.optional.extend(fields.map(|field| field.full_name().to_owned()));
    }

    /// Whether a body or a query has to have a field.
    pub(crate) fn requires(&self, field: &FieldDescriptor) -> bool {
        is_required(field) && !self.optional.contains(field.full_name())
    }

    /// The name of a message's component.
    fn name<'n>(&'n self, message: &'n MessageDescriptor) -> &'n str {
        self.names.get(message.full_name()).map_or(message.full_name(), String::as_str)
    }

    /// The schema of a message: a reference, or what a well-known type is.
    pub(crate) fn message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message) {
            return schema;
        }
        self.referred.insert(message.full_name().to_owned(), message.clone());
        json!({ "$ref": format!("#/components/schemas/{}", self.name(message)) })
    }

    /// The schema of a field's value, without its comment.
    pub(crate) fn field(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let value = self.kind(&entry.map_entry_value_field().kind());
                json!({ "type": "object", "additionalProperties": value })
            }
            kind if field.is_list() => json!({ "type": "array", "items": self.kind(&kind) }),
            kind => self.kind(&kind),
        }
    }

    /// The schema of a field's value within the limits of its contract.
    pub(crate) fn limited(&mut self, field: &FieldDescriptor, required: bool) -> Value {
        let mut schema = self.field(field);
        if !field.is_list() && !field.is_map() {
            limit(&mut schema, field, required);
        }
        schema
    }

    /// The schema of an object with the fields of a message but for those that come from elsewhere.
    pub(crate) fn object(
        &mut self,
        message: &MessageDescriptor,
        without: &[FieldDescriptor],
        comments: &mut Comments,
    ) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in message.fields().filter(|field| !without.contains(field)) {
            let is_required = self.requires(&field);
            let mut schema = self.limited(&field, is_required);
            if is_required {
                required.push(field.json_name().to_owned());
            }
            if is_output_only(&field) {
                schema["readOnly"] = true.into();
            }
            describe(&mut schema, comments.of(&field.parent_file(), field.path()));
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = required.into();
            // A later version may have more: clients of some generators refuse what a schema with required members does not name.
            schema["additionalProperties"] = true.into();
        }
        describe(&mut schema, comments.of(&message.parent_file(), message.path()));
        schema
    }

    /// Every message that was referred to, with those that they refer to.
    pub(crate) fn finish(mut self, comments: &mut Comments) -> Map<String, Value> {
        let mut schemas = Map::new();
        while let Some((_, message)) = self.referred.pop_first() {
            let name = self.name(&message).to_owned();
            if !schemas.contains_key(&name) {
                let schema = self.object(&message, &[], comments);
                schemas.insert(name, schema);
            }
        }
        schemas
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double => float("double"),
            Kind::Float => float("float"),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => {
                json!({ "type": "integer", "format": "uint32", "minimum": 0, "maximum": u32::MAX })
            }
            // JSON's numbers are doubles to many readers: ProtoJSON prints 64 bits as a string.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$" })
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({ "type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$" })
            }
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Enum(descriptor) if descriptor.full_name() == "google.protobuf.NullValue" => {
                json!({ "type": "null" })
            }
            Kind::Enum(descriptor) => {
                let names: Vec<String> = descriptor.values().map(|value| value.name().to_owned()).collect();
                json!({ "type": "string", "enum": names })
            }
            Kind::Message(message) => self.message(message),
        }
    }
}

/// The field at a path in a message, such as `order.user_id`.
fn at(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    match path.split_once('.') {
        None => message.get_field_by_name(path),
        Some((name, rest)) => at(message.get_field_by_name(name)?.kind().as_message()?, rest),
    }
}

/// Finds the messages that a message may refer to, itself too, each with its package.
fn reach(message: &MessageDescriptor, found: &mut BTreeMap<String, String>) {
    if well_known(message).is_some() {
        return;
    }
    let is_new = found.insert(message.full_name().to_owned(), message.package_name().to_owned()).is_none();
    if !is_new {
        return;
    }
    for field in message.fields() {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                if let Kind::Message(value) = entry.map_entry_value_field().kind() {
                    reach(&value, found);
                }
            }
            Kind::Message(inner) => reach(&inner, found),
            _ => {}
        }
    }
}

/// Narrows the schema of a field to the limits of its contract. A field that is required has to have another value than the empty one.
fn limit(schema: &mut Value, field: &FieldDescriptor, required: bool) {
    let limits = limits(field).unwrap_or_default();
    let or_empty = limits.or_empty && !required;
    match field.kind() {
        Kind::String => {
            let shortest = limits.shortest.or(required.then_some(1)).filter(|_| !or_empty);
            let pattern = limits.pattern.map(|text| if or_empty { format!("^$|{text}") } else { text });
            narrow(schema, "minLength", shortest);
            narrow(schema, "maxLength", limits.longest);
            narrow(schema, "pattern", pattern);
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
            let bounds = limits.least.zip(limits.most).filter(|_| !or_empty);
            narrow(schema, "pattern", bounds.and_then(|(least, most)| decimals::pattern(least, most)));
        }
        Kind::Message(_) | Kind::Enum(_) | Kind::Bool | Kind::Bytes | Kind::Double | Kind::Float => {}
        _ if or_empty => {}
        _ => {
            narrow(schema, "minimum", limits.least.and_then(|least| i64::try_from(least).ok()));
            narrow(schema, "maximum", limits.most.and_then(|most| i64::try_from(most).ok()));
        }
    }
}

fn narrow(schema: &mut Value, name: &str, limit: Option<impl Into<Value>>) {
    if let Some(limit) = limit {
        schema[name] = limit.into();
    }
}

/// Adds a description, unless it is empty.
pub(crate) fn describe(schema: &mut Value, description: String) {
    if !description.is_empty() {
        schema["description"] = description.into();
    }
}

fn float(format: &str) -> Value {
    let odd = json!({ "type": "string", "enum": ["NaN", "Infinity", "-Infinity"] });
    json!({ "oneOf": [{ "type": "number", "format": format }, odd] })
}

fn well_known(message: &MessageDescriptor) -> Option<Value> {
    let name = message.full_name().strip_prefix("google.protobuf.")?;
    if !is_well_known(message.full_name()) {
        return None;
    }
    Some(match name {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Duration" => json!({ "type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$" }),
        "FieldMask" => json!({ "type": "string" }),
        "Struct" | "Empty" => json!({ "type": "object" }),
        "ListValue" => json!({ "type": "array", "items": {} }),
        "Value" => json!({}),
        "Any" => json!({ "type": "object", "properties": { "@type": { "type": "string" } } }),
        // The wrappers: as the value in them.
        _ => Schemas::default().kind(&message.get_field(1)?.kind()),
    })
}
