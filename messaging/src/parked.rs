//! Parked messages: what a consumer could not handle, kept in the database with its whole story for an operator.

mod causes;
mod filter;
pub mod note;
mod groups;
mod ahead;
mod operate;
mod edit;
pub mod jobs;
mod redrive;
mod repeats;
mod storable;
mod terms;
#[cfg(test)]
mod tables;

use std::{collections::HashSet, str::FromStr};

use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QuerySelect as _,
    Statement, entity::prelude::*,
};
use storage::{Transaction, rows};

use crate::{broker::Undecodable, envelope::Envelope};

pub(crate) use self::{
    ahead::{Ahead, ahead, any_ahead},
    causes::cause,
    redrive::{
        Begun, Leaving, ahead_of, begin, begin_line, give_back, leaving, lock, lock_line, lock_parked,
        put_back, remove, remove_line,
    },
    repeats::{Repeat, fold},
    storable::Form,
};
pub use self::{
    causes::{common, complete_causes},
    edit::{Edited, edit},
    filter::Filter,
    groups::{Group, groups},
    note::{Operator, actions},
    operate::{Action, Affected, Mode, list, operate, previewable},
    storable::UNREADABLE,
};

/// What is to become of a parked message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum State {
    /// It waits for an operator.
    Parked = 0,
    /// Its kind is not known to the consumer: it waits for a version that knows it, and then leaves by itself.
    Held = 1,
    /// An operator has sent it back to the consumer.
    Redriven = 2,
    /// It waits behind another message of its key, or for the end of a pause, and then leaves by itself.
    Waiting = 3,
}

impl State {
    /// As the admin services spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parked => "PARKED",
            Self::Held => "HELD",
            Self::Redriven => "REDRIVEN",
            Self::Waiting => "WAITING",
        }
    }
}

/// Why a message waits that comes behind another one of its key.
pub(crate) const BEHIND: &str = "it waits behind another message of its key that is parked";

/// What waits with a message that is parked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Park {
    /// Nothing: later messages of its key overtake it.
    #[default]
    Message,
    /// Later messages of its key, which wait behind it and leave in their order once it was handled or discarded.
    Key,
}

impl FromStr for Park {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "message" => Ok(Self::Message),
            "key" => Ok(Self::Key),
            _ => Err("must be message or key"),
        }
    }
}

/// A parked message.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "parked")]
pub struct Model {
    /// The order in which messages were parked.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// Who could not handle it. A consumer parks a message once, however often it is delivered.
    pub consumer: String,
    /// What is to become of it.
    pub state: State,
    /// See [`Envelope::id`]; absent when the message could not be decoded.
    pub message_id: Option<Uuid>,
    /// See [`Envelope::kind`]. In this and the other attributes U+0000 is written `\\u0000`, and what is too long is cut off. Of a message that
    /// could not be decoded this, the source and the key are [`UNREADABLE`] where they could not be read, and empty where an older version
    /// has parked it.
    pub kind: String,
    /// See [`Envelope::source`].
    pub source: String,
    /// See [`Envelope::key`].
    pub partition_key: String,
    /// The body as it came.
    pub payload: Vec<u8>,
    /// See [`Envelope::traceparent`].
    pub traceparent: Option<String>,
    /// See [`Envelope::tracestate`].
    pub tracestate: Option<String>,
    /// See [`Envelope::subject`].
    pub subject: Option<String>,
    /// See [`Envelope::token_id`].
    pub token_id: Option<String>,
    /// The headers as text, when the message could not be decoded; and its attributes as they came, as a JSON object, when one of them
    /// cannot be stored as it is.
    pub headers: Option<String>,
    /// See [`Envelope::create_time`].
    pub create_time: Option<i64>,
    /// Why it could not be handled.
    pub error: String,
    /// How often it was tried.
    pub attempts: i32,
    /// In microseconds since the Unix epoch.
    pub park_time: i64,
    /// Attempts that have begun since it was sent back, and of which nobody knows how they ended.
    pub redrives: i32,
    /// When the last one of these began, in microseconds since the Unix epoch.
    pub redrive_time: Option<i64>,
    /// Stands for consumer, kind and error; see [`groups`]. Absent, or of another version, until somebody asks for groups, where
    /// another version has parked the message or it has come back.
    pub cause: Option<String>,
    /// The body as it came, when an operator has changed it.
    pub original_payload: Option<Vec<u8>>,
    /// The [job](jobs) that is to try it.
    pub redrive_job: Option<i64>,
    /// Requests that have come since and ask for the same: they are parked nowhere else, and whatever becomes of this one becomes of them.
    pub repeats: i64,
    /// When the last of them came, in microseconds since the Unix epoch.
    pub last_repeat_time: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}

/// A message that is to be parked, and why.
#[derive(Debug)]
pub(crate) struct Parking<'m> {
    pub(crate) message: Result<&'m Envelope, &'m Undecodable>,
    pub(crate) error: String,
    pub(crate) attempts: i32,
    pub(crate) state: State,
    /// Others that ask for the same, and are not parked by themselves.
    pub(crate) repeats: i64,
}

/// What the log and the metrics say of a parked message.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) message_id: Option<Uuid>,
    pub(crate) kind: String,
    pub(crate) traceparent: Option<String>,
    pub(crate) state: State,
    pub(crate) error: String,
}

/// Parks messages in the caller's transaction, and returns what is to be reported after the commit: each that was not parked before.
pub(crate) async fn park(
    transaction: &Transaction,
    consumer: &str,
    parkings: &[Parking<'_>],
    form: Form,
    now: i64,
) -> Result<Vec<Report>, DbErr> {
    let (models, mut reports): (Vec<Model>, Vec<Report>) =
        parkings.iter().map(|parking| row(consumer, parking, form, now)).unzip();
    let parked = rows::insert_new(transaction, &models).await?;
    if parked.len() < reports.len() {
        let ids = message_ids(transaction, &parked).await?;
        reports.retain(|report| report.message_id.is_none_or(|id| ids.contains(&id)));
    }
    Ok(reports)
}

/// The ids of the messages with these numbers.
async fn message_ids(transaction: &Transaction, seqs: &[i64]) -> Result<HashSet<Uuid>, DbErr> {
    let numbers = rows::one_of(transaction.get_database_backend(), seqs);
    let sql =
        format!("SELECT message_id FROM parked WHERE message_id IS NOT NULL AND seq {}", numbers.condition);
    let find = Statement::from_sql_and_values(transaction.get_database_backend(), sql, [numbers.value]);
    transaction.query_all_raw(find).await?.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Every text is one that the database stores, whoever wrote it: what cannot be parked would hold up everybody behind it.
fn row(consumer: &str, parking: &Parking<'_>, form: Form, now: i64) -> (Model, Report) {
    let known = parking.message.ok();
    let payload = parking.message.map_or_else(|undecodable| &undecodable.payload, |message| &message.payload);
    let message_id = known.map(|message| message.id);
    let attributes = match parking.message {
        Ok(message) => form.attributes(message),
        Err(undecodable) => form.legible(undecodable),
    };
    let error = form.error(&parking.error);
    let report = Report {
        message_id,
        kind: attributes.kind.clone(),
        traceparent: attributes.traceparent.clone(),
        state: parking.state,
        error: error.clone(),
    };
    let cause = cause(consumer, &attributes.kind, &error);
    let model = Model {
        // The database's.
        seq: 0,
        consumer: consumer.to_owned(),
        state: parking.state,
        message_id,
        kind: attributes.kind,
        source: attributes.source,
        partition_key: attributes.key,
        payload: payload.to_vec(),
        traceparent: attributes.traceparent,
        tracestate: known.and_then(|message| message.tracestate.clone()),
        subject: attributes.subject,
        token_id: attributes.token_id,
        headers: attributes.originals,
        create_time: known.map(|message| message.create_time),
        error,
        attempts: parking.attempts,
        park_time: now,
        redrives: 0,
        redrive_time: None,
        cause: Some(cause),
        original_payload: None,
        redrive_job: None,
        repeats: parking.repeats,
        last_repeat_time: (parking.repeats > 0).then_some(now),
    };
    (model, report)
}

/// How many messages there are in a state.
///
/// # Errors
/// As the database says.
pub async fn count(connection: &impl ConnectionTrait, state: State) -> Result<u64, DbErr> {
    Entity::find().filter(Column::State.eq(state)).count(connection).await
}

/// How many messages of a consumer there are in each state.
pub(crate) async fn by_state(
    connection: &impl ConnectionTrait,
    consumer: &str,
) -> Result<[(State, i64); 4], DbErr> {
    let counted = Entity::find()
        .select_only()
        .column(Column::State)
        .column_as(Column::Seq.count(), "messages")
        .filter(Column::Consumer.eq(consumer))
        .group_by(Column::State)
        .into_tuple::<(State, i64)>();
    let counted = counted.all(connection).await?;
    let count =
        |state| counted.iter().find(|(other, _)| *other == state).map_or(0, |(_, messages)| *messages);
    Ok([State::Parked, State::Held, State::Redriven, State::Waiting].map(|state| (state, count(state))))
}
