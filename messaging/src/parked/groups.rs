//! Groups of parked messages by their causes, counted by the database: nothing here grows with their number.

use std::collections::HashMap;

use sea_orm::{
    EntityTrait as _, ExprTrait as _, Order, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    entity::prelude::*,
};
use storage::{Database, Failure};

use super::{Column, Entity, State, UNREADABLE, causes::complete_causes, filter::Filter, operate::REPEATS};

/// Messages of one consumer and kind with one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Stands for consumer, kind and what the errors have in common; a [`Filter`] finds the messages by it.
    pub cause: String,
    /// Who could not handle them.
    pub consumer: String,
    /// Of which kind they are, or [`UNREADABLE`].
    pub kind: String,
    /// How many they are.
    pub messages: i64,
    /// Requests that repeat one of those: see [`Model::repeats`](super::Model::repeats).
    pub repeats: i64,
    /// When the first one was parked, in microseconds since the Unix epoch.
    pub first_time: i64,
    /// When the last one was parked, in microseconds since the Unix epoch.
    pub last_time: i64,
    /// The first of them.
    pub example: i64,
    /// Its error.
    pub error: String,
}

type Row = (Option<String>, String, String, i64, i64, Option<i64>, Option<i64>, Option<i64>);

/// The groups of the messages that the filter means, the largest first, at most `limit`. Without a state it means those that wait for an
/// operator.
///
/// # Errors
/// As the database says.
pub async fn groups(database: &Database, filter: &Filter, limit: u64) -> Result<Vec<Group>, Failure> {
    complete_causes(database).await?;
    let filter = Filter { state: filter.state.or(Some(State::Parked)), ..filter.clone() };
    let counted = Entity::find()
        .select_only()
        .columns([Column::Cause, Column::Consumer, Column::Kind])
        .column_as(Column::Seq.count(), "messages")
        .expr_as(Expr::cust(REPEATS), "repeats")
        .column_as(Column::ParkTime.min(), "first_time")
        .column_as(Column::ParkTime.max(), "last_time")
        .column_as(Column::Seq.min(), "example")
        .filter(filter.condition(database.backend()))
        // What came back this moment is counted the next time.
        .filter(Column::Cause.is_not_null())
        .group_by(Column::Cause)
        .group_by(Column::Consumer)
        .group_by(Column::Kind)
        .order_by(Column::Seq.count(), Order::Desc)
        .order_by(Column::Seq.min(), Order::Asc)
        .limit(limit)
        .into_tuple::<Row>()
        .all(database.reports())
        .await?;
    let examples: Vec<i64> = counted.iter().filter_map(|row| row.7).collect();
    let errors = Entity::find()
        .select_only()
        .columns([Column::Seq, Column::Error])
        .filter(Expr::col(Column::Seq).is_in(examples))
        .into_tuple::<(i64, String)>()
        .all(database.read())
        .await?;
    let mut errors: HashMap<i64, String> = errors.into_iter().collect();
    let group = |(cause, consumer, kind, messages, repeats, first, last, example): Row| {
        let example = example.unwrap_or_default();
        Group {
            cause: cause.unwrap_or_default(),
            consumer,
            kind: if kind.is_empty() { UNREADABLE.to_owned() } else { kind },
            messages,
            repeats,
            first_time: first.unwrap_or_default(),
            last_time: last.unwrap_or_default(),
            example,
            error: errors.remove(&example).unwrap_or_default(),
        }
    };
    Ok(counted.into_iter().map(group).collect())
}
