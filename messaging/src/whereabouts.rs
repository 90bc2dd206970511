//! Where the messages about something are: in the outbox, and what leaves before them; parked; or had already.
//!
//! The outbox has no index for that. It is small unless nothing leaves, so these are questions of an operator, and not of every call.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait as _, ExprTrait as _, FromQueryResult, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Statement, Value, entity::prelude::*,
};

use crate::{inbox, outbox, parked};

/// Messages that are returned at most: an order has a few.
const MOST: u64 = 20;

/// Which messages are meant: those of this key whose payload has this text in it, such as the id of an order.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The partition key.
    pub key: &'a str,
    /// The text, which has to be distinctive.
    pub text: &'a str,
}

/// A message that waits in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Waiting {
    /// See [`outbox::Model::seq`].
    pub seq: i64,
    /// See [`crate::envelope::Envelope::id`].
    pub message_id: Uuid,
    /// See [`crate::envelope::Envelope::kind`].
    pub kind: String,
    /// See [`crate::envelope::Envelope::traceparent`].
    pub traceparent: Option<String>,
    /// In microseconds since the Unix epoch.
    pub create_time: i64,
    /// What has become of it so far.
    pub state: outbox::State,
    /// How often the broker refused it.
    pub attempts: i32,
    /// Not before this time, in microseconds since the Unix epoch; 0 for at once.
    pub next_attempt_time: i64,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// What leaves the outbox before a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Messages that were written before it.
    pub all: i64,
    /// Those of its key that have to leave first because the broker has refused one.
    pub of_key: i64,
    /// No queue is bound for one of its key and kind: nor is one for it, and it is not tried before that one has left.
    pub unroutable: bool,
    /// Why the first of these waits.
    pub error: Option<String>,
}

/// Messages about something that wait in the outbox, in the order they were written.
///
/// # Errors
/// As the database says.
pub async fn waiting(connection: &impl ConnectionTrait, about: About<'_>) -> Result<Vec<Waiting>, DbErr> {
    let backend = connection.get_database_backend();
    let sql = format!(
        "SELECT seq, message_id, kind, traceparent, create_time, state, attempts, next_attempt_time, last_error
         FROM outbox WHERE partition_key = $1 AND {} ORDER BY seq LIMIT {MOST}",
        has_text(backend, "$2")
    );
    let values: [Value; 2] = [about.key.into(), about.text.as_bytes().to_vec().into()];
    Waiting::find_by_statement(Statement::from_sql_and_values(backend, sql, values)).all(connection).await
}

fn has_text(backend: DbBackend, value: &str) -> String {
    match backend {
        DbBackend::Postgres => format!("position({value} IN payload) > 0"),
        _ => format!("instr(payload, {value}) > 0"),
    }
}

/// What leaves before such a message.
///
/// # Errors
/// As the database says.
pub async fn ahead(connection: &impl ConnectionTrait, key: &str, message: &Waiting) -> Result<Ahead, DbErr> {
    use outbox::{Column, Entity};
    let earlier = || Entity::find().filter(Column::Seq.lt(message.seq));
    let all = earlier().filter(Column::State.eq(outbox::State::Pending)).count(connection).await?;
    // What waits for the end of a pause was not refused: it keeps others back, and the pause is the cause.
    let refused = Column::State.eq(outbox::State::Pending).and(Column::Attempts.gt(0));
    let unroutable = Column::State.eq(outbox::State::Unroutable).and(Column::Kind.eq(&message.kind));
    let first_held = earlier()
        .select_only()
        .columns([Column::Seq, Column::State])
        .column(Column::LastError)
        .filter(Column::PartitionKey.eq(key))
        .filter(Column::NextAttemptTime.gt(message.next_attempt_time))
        .filter(refused.or(unroutable))
        .order_by_asc(Column::Seq)
        .into_tuple::<(i64, outbox::State, Option<String>)>()
        .one(connection)
        .await?;
    let ahead = Ahead { all: number(all), ..Ahead::default() };
    match first_held {
        None => Ok(ahead),
        Some((_, outbox::State::Unroutable, error)) => Ok(Ahead { unroutable: true, error, ..ahead }),
        Some((first, outbox::State::Pending, error)) => {
            let of_key = earlier().filter(Column::PartitionKey.eq(key)).filter(Column::Seq.gte(first));
            Ok(Ahead { of_key: number(of_key.count(connection).await?), error, ..ahead })
        }
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Messages about something that were parked, the last one first, without their payloads. One whose key could not be read is found by its
/// text.
///
/// # Errors
/// As the database says.
pub async fn parked(
    connection: &impl ConnectionTrait,
    consumer: &str,
    about: About<'_>,
) -> Result<Vec<parked::Model>, DbErr> {
    use parked::{Column, Entity};
    let backend = connection.get_database_backend();
    let text = about.text.as_bytes().to_vec();
    let has_text = Expr::cust_with_values(
        has_text(backend, if backend == DbBackend::Postgres { "$1" } else { "?" }),
        [text],
    );
    let found = Entity::find()
        .filter(Column::Consumer.eq(consumer))
        .filter(Column::PartitionKey.is_in([about.key, parked::UNREADABLE, ""]))
        .filter(has_text)
        .order_by_desc(Column::Seq)
        .limit(MOST);
    let mut found = found.all(connection).await?;
    for message in &mut found {
        message.payload.clear();
        if message.state == parked::State::Waiting && message.error == parked::BEHIND {
            message.error = behind(connection, message).await?;
        }
    }
    Ok(found)
}

/// What a message waits behind, for a person.
async fn behind(connection: &impl ConnectionTrait, message: &parked::Model) -> Result<String, DbErr> {
    use parked::{Column, Entity};
    let ahead = Entity::find()
        .select_only()
        .column_as(Column::Seq.count(), "messages")
        .column_as(Column::Seq.min(), "first")
        .filter(Column::Consumer.eq(&message.consumer))
        .filter(Column::PartitionKey.eq(&message.partition_key))
        .filter(Column::Seq.lt(message.seq))
        .filter(Column::MessageId.is_not_null());
    Ok(match ahead.into_tuple::<(i64, Option<i64>)>().one(connection).await? {
        Some((messages, Some(first))) => {
            format!("{messages} messages of its key are before it, the first of which is number {first}")
        }
        _ => message.error.clone(),
    })
}

/// When a consumer had the first of these messages, as far as it remembers, and which it was: in microseconds since the Unix epoch.
///
/// # Errors
/// As the database says.
pub async fn received(
    connection: &impl ConnectionTrait,
    consumer: &str,
    ids: &[Uuid],
) -> Result<Option<(Uuid, i64)>, DbErr> {
    use inbox::{Column, Entity};
    let had = Entity::find()
        .select_only()
        .column(Column::MessageId)
        .column(Column::ReceiveTime)
        .filter(Column::MessageId.is_in(ids.iter().copied()))
        .filter(Column::Consumer.eq(consumer))
        .order_by_asc(Column::ReceiveTime);
    had.into_tuple().one(connection).await
}
