//! The well-known types among the fields of a message.

use prost_reflect::MessageDescriptor;
use serde::de::{DeserializeSeed as _, Deserializer};

use super::{Element, fall_back};
use crate::{
    bind::{
        json::Tree,
        message::{Walk, has_null},
        report::Report,
        scalar::Leaf,
    },
    direct::{
        civil,
        plan::Form,
        put::{self, Misfit},
        wire::{DELIMITED, put_delimited, put_tag},
    },
    reflect::encode,
    times,
};

impl Element<'_> {
    /// Appends a message that arrays and objects can express, by way of the reflective path; whether it is there at all.
    pub(super) fn tree<'de, D: Deserializer<'de>>(
        self,
        descriptor: &MessageDescriptor,
        deserializer: D,
    ) -> Result<bool, D::Error> {
        // What is wrong, unknown or too much is the reflective path's to name.
        let mut report = Report::new(false);
        let json = Tree::without_digits(self.level, &report.memory).deserialize(deserializer)?;
        let kind = prost_reflect::Kind::Message(descriptor.clone());
        if self.nullable && json.is_null() && !has_null(&kind) {
            return Ok(false);
        }
        let read = Walk::new(&mut report).well_known(descriptor, &json);
        let (Some(read), Ok(_)) = (read, report.finish()) else { return Err(fall_back()) };
        put_tag(self.out, self.number.ok_or_else(fall_back)?, DELIMITED);
        put_delimited(self.out, |out| encode::fields(&read, out));
        Ok(true)
    }

    /// Appends a message that is no object in JSON.
    pub(super) fn known(self, place: usize, leaf: Leaf<'_>) -> Result<(), Misfit> {
        let message = self.reader.plans.message(place);
        put_tag(self.out, self.number.ok_or(Misfit)?, DELIMITED);
        put_delimited(self.out, |out| match (message.form, message.fields.as_slice(), leaf) {
            (Form::Wrapper, [value], _) => put::leaf(&value.kind, Some(value.number), leaf, true, out),
            (Form::Timestamp, _, Leaf::Text(text)) => {
                civil::put(times::timestamp(text).ok_or(Misfit)?, out);
                Ok(())
            }
            (Form::Duration, _, Leaf::Text(text)) => {
                civil::put(times::duration(text).ok_or(Misfit)?, out);
                Ok(())
            }
            _ => Err(Misfit),
        })
    }
}
