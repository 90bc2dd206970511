//! The well-known types that an array or an object expresses, and those that stand for any value.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, Kind, MapKey, MessageDescriptor, Value};

use super::Walk;
use crate::{
    bind::{
        json::{Json, Object},
        known,
        report::clip,
        scalar,
    },
    reflect::encode,
};

impl Walk<'_> {
    /// The message of a well-known type; `None` when it does not fit, which is in the report then.
    pub(crate) fn well_known(
        &mut self,
        descriptor: &MessageDescriptor,
        json: &Json<'_>,
    ) -> Option<DynamicMessage> {
        match (descriptor.full_name(), json) {
            ("google.protobuf.Any", Json::Object(object)) => self.any(descriptor, object),
            ("google.protobuf.Empty", Json::Object(object)) => {
                self.report.memory.message()?;
                let mut empty = DynamicMessage::new(descriptor.clone());
                self.members(&mut empty, object);
                Some(empty)
            }
            ("google.protobuf.Struct", Json::Object(object)) => self.structure(descriptor, object),
            ("google.protobuf.ListValue", Json::Array(items)) => self.list(descriptor, items),
            ("google.protobuf.ListValue", _) => self.misfit("must be an array"),
            ("google.protobuf.Value", _) => self.any_value(descriptor, json),
            _ => {
                self.report.memory.message()?;
                if let Json::Text(text) = json {
                    self.report.memory.values(known::paths(text).count())?;
                }
                self.fitting(known::from_json(descriptor, json.leaf()))
            }
        }
    }

    /// Fields beside `@type`, or a `value` where the type has a JSON form of its own. That of Empty may be left out: it has no fields either.
    fn any(&mut self, descriptor: &MessageDescriptor, object: &Object<'_>) -> Option<DynamicMessage> {
        self.report.memory.message()?;
        // An Any that holds nothing needs no type.
        if object.is_empty() {
            return Some(DynamicMessage::new(descriptor.clone()));
        }
        let named = |wanted: &str| object.iter().find(|(name, _)| name == wanted).map(|(_, json)| json);
        let Some(Json::Text(url)) = named("@type") else { return self.misfit("must have its type in @type") };
        let kind =
            url.rsplit_once('/').and_then(|(_, name)| descriptor.parent_pool().get_message_by_name(name));
        let Some(kind) = kind else {
            return self.misfit(format!("is of the type {:?}, which is not known", clip(url)));
        };
        let is_known = scalar::is_well_known(kind.full_name());
        self.report.memory.message()?;
        let mut message = DynamicMessage::new(kind.clone());
        match named("value") {
            Some(json) if is_known => message = self.at("value", |walk| walk.well_known(&kind, json))?,
            None if is_known && kind.full_name() != "google.protobuf.Empty" => {
                return self.misfit("must have a value");
            }
            _ => {}
        }
        let is_other = |name: &str| name != "@type" && !(is_known && name == "value");
        let others = object.iter().filter(|(name, _)| is_other(name));
        if is_known {
            others.for_each(|(name, _)| {
                self.at(name, |walk| walk.report.unknown(&walk.path, "is not a field of this Any"));
            });
        } else {
            self.members(&mut message, others);
        }
        let bytes = Value::Bytes(encode::message(&message).into());
        self.fitting(known::filled(descriptor, [(1, Value::String(url.clone())), (2, bytes)]))
    }

    fn structure(&mut self, descriptor: &MessageDescriptor, object: &Object<'_>) -> Option<DynamicMessage> {
        let fields = descriptor.get_field(1).filter(prost_reflect::FieldDescriptor::is_map);
        let kind = match fields.map(|fields| fields.kind()) {
            Some(Kind::Message(entry)) => entry.map_entry_value_field().kind(),
            _ => return self.misfit("is no google.protobuf.Struct"),
        };
        let Kind::Message(kind) = kind else { return self.misfit("is no google.protobuf.Struct") };
        self.report.memory.message()?;
        self.report.memory.values(2 * object.len())?;
        let mut map = HashMap::with_capacity(object.len());
        for (name, json) in object {
            self.report.memory.text(name)?;
            let value = self.any_value(&kind, json)?;
            map.insert(MapKey::String(name.clone()), Value::Message(value));
        }
        self.fitting(known::filled(descriptor, [(1, Value::Map(map))]))
    }

    fn list(&mut self, descriptor: &MessageDescriptor, items: &[Json<'_>]) -> Option<DynamicMessage> {
        let kind = descriptor.get_field(1).map(|field| field.kind());
        let Some(Kind::Message(kind)) = kind else { return self.misfit("is no google.protobuf.ListValue") };
        self.report.memory.message()?;
        self.report.memory.values(items.len())?;
        let values: Option<Vec<Value>> =
            items.iter().map(|item| self.any_value(&kind, item).map(Value::Message)).collect();
        self.fitting(known::filled(descriptor, [(1, Value::List(values?))]))
    }

    fn any_value(&mut self, descriptor: &MessageDescriptor, json: &Json<'_>) -> Option<DynamicMessage> {
        self.report.memory.message()?;
        self.report.memory.values(1)?;
        if let Json::Text(text) = json {
            self.report.memory.text(text)?;
        }
        let inside = |number| match descriptor.get_field(number).map(|field| field.kind()) {
            Some(Kind::Message(kind)) => kind,
            // The name is that of the standard's type, and the fields are not: what is made of it does not fit.
            _ => descriptor.clone(),
        };
        let field = match json {
            Json::Null => (1, Value::EnumNumber(0)),
            Json::Bool(value) => (4, Value::Bool(*value)),
            Json::Text(text) => (3, Value::String(text.clone())),
            Json::Object(object) => (5, Value::Message(self.structure(&inside(5), object)?)),
            Json::Array(items) => (6, Value::Message(self.list(&inside(6), items)?)),
            Json::Integer(_) | Json::Decimal(_) | Json::Double(_) => {
                (2, Value::F64(self.fitting(scalar::double(json.leaf()))?))
            }
        };
        self.fitting(known::filled(descriptor, [field]))
    }

    fn fitting<T>(&mut self, outcome: Result<T, String>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(problem) => self.misfit(problem),
        }
    }
}
