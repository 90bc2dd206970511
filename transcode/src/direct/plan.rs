//! Flat tables of messages, compiled once from descriptors: what the hot path asks of a field is one index away.

use std::{collections::HashMap, sync::Arc};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind as Described, MessageDescriptor, Syntax};

use crate::bind::{closed::is_closed, known, scalar};

/// A message of more fields is left to the reflective path: what was seen of a message is kept in so many bits.
pub(crate) const MAX_FIELDS: usize = 256;

/// The messages that the routes of a pool can reach.
#[derive(Default)]
pub(crate) struct Plans {
    messages: Vec<Message>,
    by_name: HashMap<String, usize>,
    /// Many fields may have the same enum: its names are gathered once.
    enums: HashMap<String, Names>,
}

/// Every number of an enum with its name as it is printed.
type Names = Arc<[(i32, Box<[u8]>)]>;

/// A message.
pub(crate) struct Message {
    pub(crate) descriptor: MessageDescriptor,
    pub(crate) form: Form,
    /// By number.
    pub(crate) fields: Vec<Field>,
    /// Both spellings of every name, to the field's place.
    names: HashMap<Box<str>, usize>,
}

/// How a message looks in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// An object with a member for each field.
    Object,
    /// As its only field: `google.protobuf.Int64Value` and its like.
    Wrapper,
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `google.protobuf.Duration`.
    Duration,
    /// Another well-known type: the reflective path reads and writes it, and nothing around it.
    WellKnown,
    /// What proto3 has not (closed enums, groups, defaults), or more than [`MAX_FIELDS`]: the reflective path's, with all around it.
    Foreign,
}

/// A field.
pub(crate) struct Field {
    pub(crate) number: u32,
    /// The member as it is printed: `"createTime":`.
    pub(crate) key: Box<[u8]>,
    pub(crate) label: Label,
    /// Of a map: that of its values.
    pub(crate) kind: Kind,
    /// The oneof it is in, by its place.
    pub(crate) oneof: Option<usize>,
    pub(crate) descriptor: FieldDescriptor,
}

/// How often a field can be there.
pub(crate) enum Label {
    /// At most once; without `presence`, its default is the same as its absence.
    One { presence: bool },
    /// Any number of times.
    Many { packed: bool },
    /// Any number of times, once for each key.
    Map { key: Kind },
}

/// What a value is.
#[derive(Clone)]
pub(crate) enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Enum(EnumDescriptor, Names),
    /// `google.protobuf.NullValue`.
    Null,
    /// By its place in the plans.
    Message(usize),
}

/// Which fields of a message were there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen([u64; MAX_FIELDS / 64]);

impl Seen {
    /// Notes a place below [`MAX_FIELDS`]; whether it is new.
    pub(crate) fn insert(&mut self, place: usize) -> bool {
        let (word, bit) = (&mut self.0[place / 64], 1 << (place % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

impl Plans {
    /// The place of a message, compiled with all that it can hold when it is new.
    pub(crate) fn add(&mut self, descriptor: &MessageDescriptor) -> usize {
        let first = self.messages.len();
        let place = self.reserve(descriptor);
        // One after the other: messages may hold each other without end, and further down than the stack goes.
        for place in first.. {
            if place == self.messages.len() {
                break;
            }
            self.fill(place);
        }
        place
    }

    /// The place of a message whose fields are compiled later, when it is new.
    fn reserve(&mut self, descriptor: &MessageDescriptor) -> usize {
        if let Some(&place) = self.by_name.get(descriptor.full_name()) {
            return place;
        }
        let place = self.messages.len();
        self.by_name.insert(descriptor.full_name().to_owned(), place);
        let (form, names) = (form(descriptor), HashMap::new());
        self.messages.push(Message { descriptor: descriptor.clone(), form, fields: Vec::new(), names });
        place
    }

    fn fill(&mut self, place: usize) {
        let Message { descriptor, form, .. } = &self.messages[place];
        if matches!(form, Form::Object | Form::Wrapper) {
            let descriptor = descriptor.clone();
            let mut fields: Vec<Field> = descriptor.fields().map(|field| self.field(field)).collect();
            fields.sort_by_key(|field| field.number);
            let spellings = |(place, field): (usize, &Field)| {
                // The name in JSON goes before another field's name in the contract: see `Walk::members`.
                [(field.descriptor.name().into(), place), (field.descriptor.json_name().into(), place)]
            };
            let mut names: Vec<(Box<str>, usize)> = fields.iter().enumerate().flat_map(spellings).collect();
            names.sort_by_key(|(name, place)| fields[*place].descriptor.json_name() == &**name);
            let message = &mut self.messages[place];
            (message.fields, message.names) = (fields, names.into_iter().collect());
        }
    }

    /// The place of a message that was added.
    pub(crate) fn place(&self, descriptor: &MessageDescriptor) -> Option<usize> {
        self.by_name.get(descriptor.full_name()).copied()
    }

    /// The message at a place that [`Plans::add`] gave.
    pub(crate) fn message(&self, place: usize) -> &Message {
        &self.messages[place]
    }

    fn field(&mut self, descriptor: FieldDescriptor) -> Field {
        let (label, kind) = match descriptor.kind() {
            Described::Message(entry) if descriptor.is_map() => {
                let key = self.kind(&entry.map_entry_key_field().kind());
                (Label::Map { key }, self.kind(&entry.map_entry_value_field().kind()))
            }
            kind if descriptor.is_list() => {
                (Label::Many { packed: descriptor.is_packed() }, self.kind(&kind))
            }
            kind => (Label::One { presence: descriptor.supports_presence() }, self.kind(&kind)),
        };
        let name = serde_json::Value::from(descriptor.json_name());
        // A path ends with the place in its list.
        let place = descriptor.containing_oneof().and_then(|oneof| oneof.path().last().copied());
        let place = place.and_then(|place| usize::try_from(place).ok());
        let key = format!("{name}:").into_bytes().into();
        Field { number: descriptor.number(), key, label, kind, oneof: place, descriptor }
    }

    fn kind(&mut self, kind: &Described) -> Kind {
        match kind {
            Described::Double => Kind::Double,
            Described::Float => Kind::Float,
            Described::Int32 => Kind::Int32,
            Described::Int64 => Kind::Int64,
            Described::Uint32 => Kind::Uint32,
            Described::Uint64 => Kind::Uint64,
            Described::Sint32 => Kind::Sint32,
            Described::Sint64 => Kind::Sint64,
            Described::Fixed32 => Kind::Fixed32,
            Described::Fixed64 => Kind::Fixed64,
            Described::Sfixed32 => Kind::Sfixed32,
            Described::Sfixed64 => Kind::Sfixed64,
            Described::Bool => Kind::Bool,
            Described::String => Kind::String,
            Described::Bytes => Kind::Bytes,
            Described::Enum(descriptor) if descriptor.full_name() == "google.protobuf.NullValue" => {
                Kind::Null
            }
            Described::Enum(descriptor) => {
                let names = self.enums.entry(descriptor.full_name().to_owned());
                let names = names.or_insert_with(|| printed(descriptor));
                Kind::Enum(descriptor.clone(), Arc::clone(names))
            }
            Described::Message(message) => Kind::Message(self.reserve(message)),
        }
    }
}

impl Message {
    /// The field of a name in the contract or in JSON, and its place.
    pub(crate) fn named(&self, name: &str) -> Option<(usize, &Field)> {
        self.names.get(name).map(|&place| (place, &self.fields[place]))
    }

    /// The field of a number, and its place; fast when it is at or soon after `from`, as in messages in their usual order.
    pub(crate) fn numbered(&self, number: u32, from: usize) -> Option<(usize, &Field)> {
        for place in from..self.fields.len() {
            let field = &self.fields[place];
            if field.number >= number {
                return (field.number == number).then_some((place, field));
            }
        }
        None
    }

    /// The place of a field.
    pub(crate) fn place(&self, field: &FieldDescriptor) -> Option<usize> {
        self.fields.binary_search_by_key(&field.number(), |field| field.number).ok()
    }
}

/// Of several names for one number, that which the reflective path takes.
fn printed(descriptor: &EnumDescriptor) -> Names {
    let mut names: Vec<(i32, Box<[u8]>)> = Vec::new();
    for number in descriptor.values().map(|value| value.number()) {
        if let Some(value) = descriptor.get_value(number) {
            names.push((number, serde_json::Value::from(value.name()).to_string().into_bytes().into()));
        }
    }
    names.sort_by_key(|(number, _)| *number);
    names.dedup_by_key(|(number, _)| *number);
    names.into()
}

fn form(descriptor: &MessageDescriptor) -> Form {
    let open = |field: FieldDescriptor| match field.kind() {
        Described::Enum(descriptor) => !is_closed(&descriptor),
        _ => !field.is_group(),
    };
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => Form::Timestamp,
        "google.protobuf.Duration" => Form::Duration,
        _ if known::wrapped(descriptor).is_some() => Form::Wrapper,
        name if scalar::is_well_known(name) => Form::WellKnown,
        _ if descriptor.parent_file().syntax() == Syntax::Proto3
            && descriptor.fields().len() <= MAX_FIELDS
            && descriptor.oneofs().len() <= MAX_FIELDS
            && descriptor.fields().all(open) =>
        {
            Form::Object
        }
        _ => Form::Foreign,
    }
}
