//! Which parked messages are meant.

use std::fmt;

use prost_types::Timestamp;
use sea_orm::{
    Condition, DbBackend, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    QueryTrait as _, entity::prelude::*, sea_query::SimpleExpr,
};

use super::{Column, Entity, State, UNREADABLE};

/// Which parked messages are meant: those that meet every condition that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these; empty for any.
    pub seqs: Vec<i64>,
    /// Parked by this consumer.
    pub consumer: Option<String>,
    /// Of this kind, which may be [`UNREADABLE`].
    pub kind: Option<String>,
    /// Of this partition key, which may be [`UNREADABLE`].
    pub key: Option<String>,
    /// With this text in its error.
    pub error: Option<String>,
    /// With this cause; see [`groups`](super::groups()).
    pub cause: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// Parked at this time or later, in microseconds since the Unix epoch.
    pub parked_from: Option<i64>,
    /// Parked before this time, in microseconds since the Unix epoch.
    pub parked_before: Option<i64>,
    /// The first so many of those, in the order they were parked, where something is done to them.
    pub first: Option<u64>,
}

impl Filter {
    /// Whether it means every message.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn condition(&self, backend: DbBackend) -> Condition {
        let chosen = (!self.seqs.is_empty()).then(|| Column::Seq.is_in(self.seqs.iter().copied()));
        Condition::all()
            .add_option(chosen)
            .add_option(self.consumer.as_deref().map(|consumer| Column::Consumer.eq(consumer)))
            .add_option(self.kind.as_deref().map(|kind| is(Column::Kind, kind)))
            .add_option(self.key.as_deref().map(|key| is(Column::PartitionKey, key)))
            .add_option(self.error.as_deref().map(|error| has_text(backend, error)))
            .add_option(self.cause.as_deref().map(|cause| Column::Cause.eq(cause)))
            .add_option(self.state.map(|state| Column::State.eq(state)))
            .add_option(self.parked_from.map(|time| Column::ParkTime.gte(time)))
            .add_option(self.parked_before.map(|time| Column::ParkTime.lt(time)))
    }

    /// The same for those that `also` is true of, of which it means only the first where it says so.
    pub(super) fn meaning(&self, also: Condition, backend: DbBackend) -> Condition {
        let met = self.condition(backend).add(also.clone());
        let Some(first) = self.first else { return met };
        let seqs = Entity::find().select_only().column(Column::Seq).filter(met);
        let seqs = seqs.order_by_asc(Column::Seq).limit(first).into_query();
        // What has changed meanwhile is not meant any more. The rest is bound once: a statement has to stay small.
        Condition::all().add(also).add(Column::Seq.in_subquery(seqs))
    }
}

/// For the operator who reads later what was done: `consumer = "payments" AND key = "alice", the first 3`, or `every message`.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name, text: &Option<String>| text.as_ref().map(|text| format!("{name} = {text:?}"));
        let conditions = [
            (!self.seqs.is_empty()).then(|| numbers(&self.seqs)),
            text("consumer", &self.consumer),
            text("kind", &self.kind),
            text("key", &self.key),
            self.error.as_ref().map(|error| format!("error HAS {error:?}")),
            text("cause", &self.cause),
            self.state.map(|state| format!("state = {}", state.name())),
            self.parked_from.map(|time| format!("parked since {}", moment(time))),
            self.parked_before.map(|time| format!("parked before {}", moment(time))),
        ];
        let conditions: Vec<String> = conditions.into_iter().flatten().collect();
        let all = if conditions.is_empty() { "every message".to_owned() } else { conditions.join(" AND ") };
        f.write_str(&all)?;
        self.first.map_or(Ok(()), |first| write!(f, ", the first {first}"))
    }
}

/// The first of them stand for more than a person reads.
fn numbers(seqs: &[i64]) -> String {
    const SHOWN: usize = 20;
    let first: Vec<String> = seqs.iter().take(SHOWN).map(i64::to_string).collect();
    let more = seqs.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("sequence = {}{more}", first.join(" or "))
}

fn moment(micros: i64) -> Timestamp {
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

/// The messages that are meant, locked in the order of their numbers, as everybody does who locks several.
pub(super) fn in_order(meant: Condition) -> Condition {
    let seqs = Entity::find().select_only().column(Column::Seq).filter(meant.clone());
    let seqs = seqs.order_by_asc(Column::Seq).lock_exclusive().into_query();
    Condition::all().add(Column::Seq.in_subquery(seqs))
}

/// Whether a kind or key is this one. Versions before have left empty what could not be read.
fn is(column: Column, text: &str) -> Condition {
    let emptied = Condition::all().add(column.eq("")).add(Column::MessageId.is_null());
    Condition::any().add(column.eq(text)).add_option((text == UNREADABLE).then_some(emptied))
}

/// Whether the error has this text in it, letter by letter: LIKE of SQLite takes `A` for `a`.
fn has_text(backend: DbBackend, text: &str) -> SimpleExpr {
    let sql = if backend == DbBackend::Postgres { "strpos(error, $1) > 0" } else { "instr(error, ?) > 0" };
    Expr::cust_with_values(sql, [text])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_read_by_a_person() {
        assert_eq!(Filter::default().to_string(), "every message");
        let some = Filter {
            seqs: vec![3, 5],
            key: Some("al\"ice".to_owned()),
            state: Some(State::Parked),
            parked_before: Some(1_793_491_200_000_000),
            first: Some(2),
            ..Filter::default()
        };
        let read = "sequence = 3 or 5 AND key = \"al\\\"ice\" AND state = PARKED AND parked before \
                    2026-11-01T00:00:00Z, the first 2";
        assert_eq!(some.to_string(), read);
    }
}
