//! Which parked messages are meant.

use sea_orm::{
    Condition, DbBackend, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    QueryTrait as _, entity::prelude::*, sea_query::SimpleExpr,
};

use super::{Column, Entity, State};

/// Which parked messages are meant: those that meet every condition that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these; empty for any.
    pub seqs: Vec<i64>,
    /// Parked by this consumer.
    pub consumer: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Of this partition key.
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
            .add_option(self.kind.as_deref().map(|kind| Column::Kind.eq(kind)))
            .add_option(self.key.as_deref().map(|key| Column::PartitionKey.eq(key)))
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

/// The messages that are meant, locked in the order of their numbers, as everybody does who locks several.
pub(super) fn in_order(meant: Condition) -> Condition {
    let seqs = Entity::find().select_only().column(Column::Seq).filter(meant.clone());
    let seqs = seqs.order_by_asc(Column::Seq).lock_exclusive().into_query();
    Condition::all().add(Column::Seq.in_subquery(seqs))
}

/// Whether the error has this text in it, letter by letter: LIKE of SQLite takes `A` for `a`.
fn has_text(backend: DbBackend, text: &str) -> SimpleExpr {
    let sql = if backend == DbBackend::Postgres { "strpos(error, $1) > 0" } else { "instr(error, ?) > 0" };
    Expr::cust_with_values(sql, [text])
}
