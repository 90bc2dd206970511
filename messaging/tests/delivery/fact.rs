//! The message of these tests, and the effect of each: one row, so that an effect too many shows.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use messaging::{
    consumer::{self, Handler, Verdict},
    envelope::Envelope,
    topology::Subscription,
};
use prost::{Message, Name};
use sea_orm::{ConnectionTrait as _, DbErr, entity::prelude::*};
use storage::{Executor, Reading, rows};

/// How many keys the facts are spread over.
pub(crate) const KEYS: i64 = 10;

/// Something with a number happened.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Fact {
    #[prost(int64, tag = "1")]
    pub(crate) number: i64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) padding: Vec<u8>,
}

impl Name for Fact {
    const NAME: &'static str = "Fact";
    const PACKAGE: &'static str = "tests.v1";
}

/// A new message about `number`, which also decides its key.
pub(crate) fn fact(number: i64) -> Envelope {
    padded(number, 0)
}

#[expect(
    clippy::disallowed_methods,
    reason = "real ids and times: latency and retention are measured by them"
)]
/// The same with a payload of about `bytes` bytes.
pub(crate) fn padded(number: i64, bytes: usize) -> Envelope {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
    Envelope::new(Uuid::now_v7(), key(number), &Fact { number, padding: vec![7; bytes] }, now)
}

pub(crate) fn key(number: i64) -> String {
    format!("key-{}", number % KEYS)
}

/// The consumer of the facts.
pub(crate) fn reader() -> Subscription {
    Subscription { consumer: "reader".to_owned(), kinds: vec![Fact::full_name()] }
}

/// What the handler does with a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Apply,
    Refuse,
    Fail,
    Panic,
}

/// Writes one row for each fact.
#[derive(Clone)]
pub(crate) struct Effects {
    answer: Arc<dyn Fn(i64) -> Answer + Send + Sync>,
}

impl Effects {
    pub(crate) fn always() -> Self {
        Self::unless(|_| Answer::Apply)
    }

    pub(crate) fn unless(answer: impl Fn(i64) -> Answer + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer) }
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Effects")
    }
}

/// A row per effect.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "effects")]
pub(crate) struct Model {
    /// The order in which they came to be.
    #[sea_orm(primary_key)]
    pub(crate) seq: i64,
    pub(crate) number: i64,
}

impl ActiveModelBehavior for ActiveModel {}

pub(crate) const TABLE: &str = "CREATE TABLE effects (seq {serial}, number {int} NOT NULL) {strict}";

impl Effects {
    fn judge(&self, messages: &[&Envelope]) -> Result<(Vec<Verdict>, Vec<Model>), DbErr> {
        let (mut verdicts, mut rows) = (Vec::new(), Vec::new());
        for message in messages {
            let fact =
                Fact::decode(message.payload.clone()).map_err(|error| DbErr::Custom(error.to_string()))?;
            verdicts.push(match (self.answer)(fact.number) {
                Answer::Apply => {
                    rows.push(Model { seq: 0, number: fact.number });
                    Verdict::Done
                }
                Answer::Refuse => Verdict::Park(format!("fact {} is refused", fact.number)),
                Answer::Fail => return Err(DbErr::Custom(format!("fact {} fails", fact.number))),
                Answer::Panic => panic!("fact {} panics", fact.number),
            });
        }
        Ok((verdicts, rows))
    }
}

#[async_trait]
impl Handler for Effects {
    async fn handle(
        &self,
        reading: Reading<'_>,
        messages: &[&Envelope],
        left: &mut consumer::Effects,
    ) -> Result<Vec<Verdict>, DbErr> {
        let (verdicts, rows) = self.judge(messages)?;
        left.write(rows::inserts(reading.executor().get_database_backend(), &rows)?);
        Ok(verdicts)
    }

    /// Nothing of these effects is in the way of a second one: only the inbox is.
    fn is_optimistic(&self) -> bool {
        true
    }
}

/// A handler without an inbox, of which the effects of even facts are there already, however that came.
pub(crate) struct Idempotent;

#[async_trait]
impl Handler for Idempotent {
    async fn handle(
        &self,
        _reading: Reading<'_>,
        messages: &[&Envelope],
        _left: &mut consumer::Effects,
    ) -> Result<Vec<Verdict>, DbErr> {
        Ok(vec![Verdict::Done; messages.len()])
    }

    async fn was_applied(&self, _executor: Executor<'_>, message: &Envelope) -> Result<bool, DbErr> {
        let fact = Fact::decode(message.payload.clone()).map_err(|error| DbErr::Custom(error.to_string()))?;
        Ok(fact.number % 2 == 0)
    }
}
