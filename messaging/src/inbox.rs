//! The inbox: which messages a consumer has had, remembered in the transaction of their effect.

use std::collections::HashSet;

use sea_orm::{DbBackend, DbErr, entity::prelude::*};
use storage::{
    Transaction,
    rows::{self, Write},
};

use crate::envelope::Envelope;

/// A row of the inbox.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inbox")]
pub struct Model {
    /// See [`Envelope::id`].
    #[sea_orm(primary_key, auto_increment = false)]
    pub message_id: Uuid,
    /// Who had it: consumers that share a database each have their own copy.
    #[sea_orm(primary_key, auto_increment = false)]
    pub consumer: String,
    /// In microseconds since the Unix epoch.
    pub receive_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}

/// Remembers `messages` as had by `consumer`, and returns those that were not before, each once and in their order.
pub(crate) async fn new_among<'m>(
    transaction: &Transaction,
    consumer: &str,
    messages: impl IntoIterator<Item = &'m Envelope>,
    now: i64,
) -> Result<Vec<&'m Envelope>, DbErr> {
    let messages: Vec<&Envelope> = messages.into_iter().collect();
    let inserted = rows::insert_new(transaction, &models(consumer, &messages, now)).await?;
    let mut unseen: HashSet<Uuid> = inserted.into_iter().map(|(message_id, _)| message_id).collect();
    Ok(messages.into_iter().filter(|message| unseen.remove(&message.id)).collect())
}

/// The statements that remember `messages` as had by `consumer`, and fail when it had one before.
pub(crate) fn writes(
    backend: DbBackend,
    consumer: &str,
    messages: &[&Envelope],
    now: i64,
) -> Result<Vec<Write>, DbErr> {
    rows::inserts_of_new(backend, &models(consumer, messages, now))
}

fn models(consumer: &str, messages: &[&Envelope], now: i64) -> Vec<Model> {
    let model = |message: &&Envelope| Model {
        message_id: message.id,
        consumer: consumer.to_owned(),
        receive_time: now,
    };
    messages.iter().map(model).collect()
}
