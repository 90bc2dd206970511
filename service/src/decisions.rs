//! The decided orders of a service, as digests and as lists: what orders and payments compare.
//!
//! Both have the order's id as a primary key, and the id begins with the time of placing: so a range of that time is the same orders on both
//! sides, found by an index that is there anyway, however late an order was decided.

mod digest;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use chassis::{
    clock::{Clock, Micros, moment_of, timestamp},
    status::Fault,
};
use messaging::outbox;
use ordermesh::{
    payments::v1::payment::Outcome,
    reconciliation::v1::{
        DecidedOrder, DecisionsDigest, DigestDecisionsRequest, ListDecisionsRequest, ListDecisionsResponse,
    },
};
use prost_types::Timestamp;
use sea_orm::{DbErr, prelude::Uuid};
use storage::{Database, Failure};

pub use self::digest::Digest;
use crate::{fault, list::first_id, request::Checks};

/// The longest range of a request, in microseconds.
const MINUTE: Micros = 60_000_000;
/// Orders of a list at most, and ids of a request.
pub const MOST: usize = 1_000;
/// Rows that are read at a time for a digest.
const READ: u64 = 2_000;

/// What a service has stored about orders.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Orders from this id on and before the other one, by their ids.
    async fn range(
        &self,
        database: &Database,
        from: Uuid,
        before: Uuid,
        limit: u64,
    ) -> Result<Vec<DecidedOrder>, DbErr>;

    /// These orders, as far as there are any.
    async fn some(&self, database: &Database, ids: &[Uuid]) -> Result<Vec<DecidedOrder>, DbErr>;

    /// The last order before this id.
    async fn last_before(&self, database: &Database, id: Uuid) -> Result<Option<Uuid>, DbErr>;
}

/// The decided orders of a service. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Decisions {
    source: Arc<dyn Source>,
    database: Database,
    clock: Arc<dyn Clock>,
    instance: String,
}

/// What a range of orders comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Of those that are decided.
    pub digest: Digest,
    /// The others.
    pub undecided: Vec<Uuid>,
    /// When the last order before the range was placed.
    pub earlier: Option<Micros>,
}

impl Decisions {
    /// What this source has in a database.
    pub fn new(source: impl Source, database: Database, clock: Arc<dyn Clock>) -> Self {
        let instance = clock.new_id().to_string();
        Self { source: Arc::new(source), database, clock, instance }
    }

    /// Answers DigestDecisions.
    ///
    /// # Errors
    /// INVALID_FIELD, and as the database says.
    pub async fn digest(&self, request: DigestDecisionsRequest) -> Result<DecisionsDigest, Fault> {
        let (from, until) = range(request.from.as_ref(), request.until.as_ref())?;
        let Scanned { digest, earlier, .. } = self.scan(from, until).await.map_err(fault)?;
        Ok(DecisionsDigest {
            count: digest.count,
            digest: digest.sum.to_be_bytes().to_vec(),
            earlier_time: earlier.map(timestamp),
            instance: self.instance.clone(),
        })
    }

    /// The orders that were placed from one time on and before another.
    ///
    /// # Errors
    /// As the database says.
    pub async fn scan(&self, from: Micros, until: Micros) -> Result<Scanned, Failure> {
        let (mut from, before, mut scanned) = (first_id(from), first_id(until), Scanned::default());
        let earlier = self.source.last_before(&self.database, from).await?;
        scanned.earlier = earlier.and_then(moment_of);
        loop {
            let orders = self.source.range(&self.database, from, before, READ).await?;
            for order in &orders {
                if order.outcome() != Outcome::Unspecified {
                    scanned.digest.add(order);
                } else if let Ok(id) = order.order_id.parse() {
                    scanned.undecided.push(id);
                }
            }
            match next(&orders, READ) {
                Some(next) => from = next,
                None => return Ok(scanned),
            }
        }
    }

    /// Answers ListDecisions.
    ///
    /// # Errors
    /// INVALID_FIELD, and as the database says.
    pub async fn list(&self, request: ListDecisionsRequest) -> Result<ListDecisionsResponse, Fault> {
        let read_time = Some(timestamp(self.clock.now()));
        let (decisions, next_after_order_id) = if request.order_ids.is_empty() {
            self.page(&request).await?
        } else {
            (self.source.some(&self.database, &ids(&request.order_ids)?).await.map_err(fault)?, String::new())
        };
        let oldest = outbox::oldest(self.database.read()).await.map_err(fault)?;
        let oldest_message_time = oldest.map(timestamp);
        Ok(ListDecisionsResponse { decisions, next_after_order_id, read_time, oldest_message_time })
    }

    async fn page(&self, request: &ListDecisionsRequest) -> Result<(Vec<DecidedOrder>, String), Fault> {
        let (from, until) = range(request.from.as_ref(), request.until.as_ref())?;
        let mut from = first_id(from);
        if !request.after_order_id.is_empty() {
            from = from.max(after(ids(std::slice::from_ref(&request.after_order_id))?[0]));
        }
        let orders = self.source.range(&self.database, from, first_id(until), MOST as u64).await;
        let orders = orders.map_err(fault)?;
        let more = orders.len() >= MOST;
        let next = orders.last().filter(|_| more).map(|last| last.order_id.clone()).unwrap_or_default();
        Ok((orders, next))
    }
}

/// A time of a contract.
#[must_use]
pub fn micros(time: &Timestamp) -> Micros {
    time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos) / 1_000)
}

fn range(from: Option<&Timestamp>, until: Option<&Timestamp>) -> Result<(Micros, Micros), Fault> {
    let (from_time, until_time) = (from.map(micros), until.map(micros));
    let length = until_time.zip(from_time).map(|(until, from)| until.saturating_sub(from));
    let fits = length.is_none_or(|length| (0..=MINUTE).contains(&length));
    Checks::default()
        .field("from", from.map(drop).ok_or("must be given"))
        .field("until", until.map(drop).ok_or("must be given"))
        .field("until", fits.then_some(()).ok_or("must be at most a minute after `from`"))
        .finish()?;
    Ok((from_time.unwrap_or_default(), until_time.unwrap_or_default()))
}

fn ids(texts: &[String]) -> Result<Vec<Uuid>, Fault> {
    let ids: Vec<Uuid> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    let are_ids = ids.len() == texts.len() && ids.len() <= MOST;
    let verdict = are_ids.then_some(()).ok_or("must be at most 1,000 UUIDs");
    Checks::default().field("order_ids", verdict).finish()?;
    Ok(ids)
}

/// From where a page goes on, if it is full.
fn next(orders: &[DecidedOrder], limit: u64) -> Option<Uuid> {
    let last = orders.last().filter(|_| orders.len() as u64 >= limit)?;
    last.order_id.parse().ok().map(after)
}

/// The next id.
fn after(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}
