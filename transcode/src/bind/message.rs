//! A JSON tree becomes a message: every value that does not fit is reported with the path of its field.

mod trees;

use std::collections::{HashMap, HashSet, hash_map::Entry};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value};

use super::{
    json::Json,
    names,
    report::{BODY, Report},
    scalar,
};

/// The members that were given of oneofs, by the full names of these.
type Given = HashMap<String, String>;

/// Walks a JSON tree along a message's descriptor.
#[derive(Debug)]
pub(crate) struct Walk<'r> {
    report: &'r mut Report,
    /// The field that is being read, by the names of JSON: `order.userId`, `items[2].id`.
    path: String,
}

impl<'r> Walk<'r> {
    /// A walk that begins at the request itself.
    pub(crate) fn new(report: &'r mut Report) -> Self {
        Self { report, path: String::new() }
    }

    /// Reads a whole text into `message`.
    pub(crate) fn whole(&mut self, message: &mut DynamicMessage, json: &Json<'_>) {
        let kind = Kind::Message(message.descriptor());
        if let Some(Value::Message(read)) = self.element(&kind, json) {
            *message = read;
        }
    }

    /// Reads the members of an object into `message`.
    pub(crate) fn members<'j, 't: 'j>(
        &mut self,
        message: &mut DynamicMessage,
        members: impl IntoIterator<Item = &'j (String, Json<'t>)>,
    ) {
        let descriptor = message.descriptor().clone();
        let (mut seen, mut given) = (HashSet::new(), Given::new());
        for (name, json) in members {
            if self.report.is_full() {
                return;
            }
            let Some(field) = names::field(&descriptor, name) else {
                let text = format!("is not a field of {}", descriptor.name());
                self.at(name, |walk| walk.report.unknown(&walk.path, text));
                continue;
            };
            // The parser refuses a name twice; this is one field by both of its names.
            if !seen.insert(field.number()) {
                self.at(field.json_name(), |walk| walk.report.unreadable(&walk.path, "is given twice"));
                continue;
            }
            self.one(message, &field, json, &mut given);
        }
    }

    /// Reads the field of `message` that a text stands for.
    pub(crate) fn member(&mut self, message: &mut DynamicMessage, field: &FieldDescriptor, json: &Json<'_>) {
        self.one(message, field, json, &mut Given::new());
    }

    /// Reads one field of `message`, beside those of oneofs that are `given`: a oneof may have thousands of fields, and is not looked through for
    /// each of them.
    fn one(
        &mut self,
        message: &mut DynamicMessage,
        field: &FieldDescriptor,
        json: &Json<'_>,
        given: &mut Given,
    ) {
        self.at(field.json_name(), |walk| {
            let Some(value) = walk.value(field, json) else { return };
            if walk.report.memory.values(1).is_none() {
                return;
            }
            if let Some(oneof) = field.containing_oneof() {
                match given.entry(oneof.full_name().to_owned()) {
                    Entry::Vacant(entry) => {
                        entry.insert(field.json_name().to_owned());
                    }
                    Entry::Occupied(sibling) => {
                        let problem = format!("cannot be given together with {}", sibling.get());
                        return walk.report.unreadable(&walk.path, problem);
                    }
                }
            }
            message.set_field(field, value);
        });
    }

    /// The value of a field; `None` when it is null, or does not fit, which is in the report then.
    fn value(&mut self, field: &FieldDescriptor, json: &Json<'_>) -> Option<Value> {
        let kind = field.kind();
        if json.is_null() && (field.is_list() || field.is_map() || !has_null(&kind)) {
            return None;
        }
        if field.is_list() {
            let Json::Array(items) = json else { return self.misfit("must be an array") };
            self.report.memory.values(items.len())?;
            let mut list = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                if self.report.memory.is_exhausted() || self.report.is_full() {
                    return None;
                }
                list.extend(self.inside(&format!("[{index}]"), |walk| walk.element(&kind, item)));
            }
            return Some(Value::List(list));
        }
        match &kind {
            Kind::Message(entry) if field.is_map() => self.map(entry, json),
            _ => self.element(&kind, json),
        }
    }

    fn map(&mut self, entry: &MessageDescriptor, json: &Json<'_>) -> Option<Value> {
        let Json::Object(object) = json else { return self.misfit("must be an object") };
        let (key_kind, value_kind) =
            (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        self.report.memory.values(2 * object.len())?;
        let mut map = std::collections::HashMap::with_capacity(object.len());
        for (name, json) in object {
            self.report.memory.text(name)?;
            if self.report.is_full() {
                return None;
            }
            self.inside(&format!("[{name:?}]"), |walk| {
                let Some(key) = scalar::key(&key_kind, name) else {
                    return walk.report.unreadable(&walk.path, "has a key of the wrong type");
                };
                let Some(value) = walk.element(&value_kind, json) else { return };
                // `1` and `01` are one key.
                if map.insert(key, value).is_some() {
                    walk.report.unreadable(&walk.path, "is given twice");
                }
            });
        }
        Some(Value::Map(map))
    }

    fn element(&mut self, kind: &Kind, json: &Json<'_>) -> Option<Value> {
        if let Kind::Message(descriptor) = kind {
            if scalar::is_well_known(descriptor.full_name()) {
                return self.well_known(descriptor, json).map(Value::Message);
            }
            let Json::Object(object) = json else { return self.misfit("must be an object") };
            self.report.memory.message()?;
            let mut message = DynamicMessage::new(descriptor.clone());
            self.members(&mut message, object);
            return Some(Value::Message(message));
        }
        if let Json::Text(text) = json {
            self.report.memory.text(text)?;
        }
        match scalar::from_json(kind, json.leaf()) {
            Ok(value) => Some(value),
            // A newer client's enum value (ProtoJSON: ignored where unknown fields are).
            Err(problem) if matches!((kind, json), (Kind::Enum(_), Json::Text(_))) => {
                self.report.unknown(&self.path, problem);
                None
            }
            Err(problem) => self.misfit(problem),
        }
    }

    fn misfit<T>(&mut self, problem: impl Into<String>) -> Option<T> {
        let field = if self.path.is_empty() { BODY } else { &self.path };
        self.report.unreadable(field, problem);
        None
    }

    fn at<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        if self.path.is_empty() { self.inside(name, read) } else { self.inside(&format!(".{name}"), read) }
    }

    fn inside<T>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(step);
        let read = read(self);
        self.path.truncate(length);
        read
    }
}

/// Another field of the same oneof that already has a value.
#[must_use]
pub(crate) fn sibling(message: &DynamicMessage, field: &FieldDescriptor) -> Option<String> {
    let oneof = field.containing_oneof()?;
    oneof
        .fields()
        .find(|other| other != field && message.has_field(other))
        .map(|other| other.json_name().to_owned())
}

/// Whether JSON's null is a value of this kind; everywhere else it stands for an absent field.
pub(crate) fn has_null(kind: &Kind) -> bool {
    match kind {
        Kind::Message(message) => message.full_name() == "google.protobuf.Value",
        Kind::Enum(descriptor) => descriptor.full_name() == "google.protobuf.NullValue",
        _ => false,
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
