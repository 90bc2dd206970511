//! Path, query, body and headers of a request become wire bytes at once, when nothing about the request is unusual.
//!
//! What [`crate::bind`] would report, and shapes that it alone knows, give `None` here: it is asked then.

pub(crate) mod plan;
pub(crate) mod read;
pub(crate) mod put;
pub(crate) mod fallback;
pub(crate) mod render;
mod raw;
pub(crate) mod print;
pub(crate) mod civil;
pub(crate) mod wire;

use serde::de::DeserializeSeed as _;

use self::{
    plan::{Field, Form, Label, Message, Seen},
    read::{Member, Members, Reader},
};
use crate::{
    bind::{Input, json::Level, query::MAX_PARAMETERS, scalar::Leaf},
    routes::{
        percent,
        route::{Body, Route},
    },
};

/// A request's wire bytes, or `None` when the reflective path has to look at it.
pub(crate) fn request(route: &Route, input: &Input<'_>) -> Option<Vec<u8>> {
    if route.raw_body || route.update_mask.is_some() {
        return None;
    }
    let plans = &*route.rpc.plans;
    let message = plans.message(route.rpc.input_place);
    let (seen, oneofs) = (Seen::default(), Seen::default());
    let out = Vec::with_capacity(input.body.len() + 64);
    let mut request = Request { reader: Reader { plans }, message, seen, oneofs, out };
    request.body(&route.body, input.body)?;
    if !input.query.is_empty() {
        request.query(route, input.query)?;
    }
    for (path, capture) in route.variables.iter().zip(&input.captures) {
        let [field] = path.as_slice() else { return None };
        request.text(message.place(field)?, capture.as_ref().ok()?)?;
    }
    if let (Some(field), Some(key)) = (&route.rpc.request_id, input.idempotency_key) {
        request.text(message.place(field)?, key)?;
    }
    if let (Some(field), Some(id)) = (&route.rpc.after_version, input.last_event_id) {
        let version: i64 = id.parse().ok()?;
        request.leaf(message.place(field)?, Leaf::Integer(version.into()))?;
    }
    Some(request.out)
}

/// One message's wire bytes from JSON text; `None` as for [`request`].
pub(crate) fn message(reader: Reader<'_>, message: &Message, text: &[u8]) -> Option<Vec<u8>> {
    let (seen, oneofs) = (Seen::default(), Seen::default());
    let mut request = Request { reader, message, seen, oneofs, out: Vec::with_capacity(text.len()) };
    request.body(&Body::Whole, text)?;
    Some(request.out)
}

/// A request as far as it is made.
struct Request<'p> {
    reader: Reader<'p>,
    message: &'p Message,
    seen: Seen,
    oneofs: Seen,
    out: Vec<u8>,
}

impl<'p> Request<'p> {
    fn body(&mut self, body: &Body, text: &[u8]) -> Option<()> {
        if self.message.form != Form::Object {
            return None;
        }
        if text.is_empty() {
            return Some(());
        }
        let mut json = serde_json::Deserializer::from_slice(text);
        let (reader, level, out) = (self.reader, Level::TOP, &mut self.out);
        match body {
            Body::Nothing => return None,
            Body::Whole => {
                let (message, seen, oneofs) = (self.message, &mut self.seen, &mut self.oneofs);
                Members { reader, message, level, seen, oneofs, out }.deserialize(&mut json).ok()?;
            }
            Body::Field(field) => {
                let place = self.message.place(field)?;
                let field = &self.message.fields[place];
                if (Member { reader, field, level, out }).deserialize(&mut json).ok()? {
                    self.note(place, field)?;
                }
            }
        }
        json.end().ok()
    }

    fn query(&mut self, route: &Route, query: &str) -> Option<()> {
        if route.body == Body::Whole {
            return None;
        }
        if query.split('&').nth(MAX_PARAMETERS).is_some() {
            return None;
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
            let (place, field) = self.message.named(&percent::decode_query(name).ok()?)?;
            let from_elsewhere = route.variables.iter().any(|path| path.first() == Some(&field.descriptor))
                || matches!(&route.body, Body::Field(body) if *body == field.descriptor);
            if from_elsewhere || route.rpc.order_by.as_ref() == Some(&field.descriptor) {
                return None;
            }
            self.text(place, &percent::decode_query(text).ok()?)?;
        }
        Some(())
    }

    /// Appends a field that text alone expresses. One that can be there many times comes unpacked, which every reader takes.
    fn text(&mut self, place: usize, text: &str) -> Option<()> {
        let field = &self.message.fields[place];
        self.leaf(place, put::textual(&field.kind, text).ok()?)
    }

    fn leaf(&mut self, place: usize, leaf: Leaf<'_>) -> Option<()> {
        let field = &self.message.fields[place];
        let skip_default = match field.label {
            Label::One { presence } => {
                self.note(place, field)?;
                !presence
            }
            Label::Many { .. } => false,
            Label::Map { .. } => return None,
        };
        put::leaf(&field.kind, Some(field.number), leaf, skip_default, &mut self.out).ok()
    }

    /// Notes that a field is there, once and alone in its oneof.
    fn note(&mut self, place: usize, field: &'p Field) -> Option<()> {
        let alone = field.oneof.is_none_or(|oneof| self.oneofs.insert(oneof));
        (self.seen.insert(place) && alone).then_some(())
    }
}
