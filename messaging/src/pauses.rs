//! Pauses: what an operator has stopped for a time. They are rows of the service's database, so that no restart ends one, and every process
//! obeys those that it has read last.

mod operate;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sea_orm::entity::prelude::*;
use storage::{Database, Failure};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{observe, retry::Backoff};

pub use self::operate::{Begun, Key, MOST, Pause, list, pause, resume};

/// Between two looks at the table: a pause is obeyed within two of them, by a process that was not running when it began as well.
const POLL: Duration = Duration::from_secs(1);

/// What a pause is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum Part {
    /// Consumers of the service, or a part of them.
    Consumer = 0,
    /// Its relay.
    Relay = 1,
}

/// A pause.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pauses")]
pub struct Model {
    /// Distinguishes it from all others, also from those that are over.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// What it is of.
    pub part: Part,
    /// Only of this consumer.
    pub consumer: Option<String>,
    /// Only of messages of this kind.
    pub kind: Option<String>,
    /// Only of this partition.
    pub partition_number: Option<i32>,
    /// Why, in the operator's words.
    pub reason: String,
    /// Who has paused it, by the name that they give.
    pub operator: String,
    /// See [`Origin::subject`](crate::origin::Origin::subject); absent where nobody says who calls.
    pub subject: Option<String>,
    /// See [`Origin::token_id`](crate::origin::Origin::token_id).
    pub token_id: Option<String>,
    /// When it began, in microseconds since the Unix epoch.
    pub pause_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Whether everything of this partition of a consumer is paused by it.
    fn stops(&self, consumer: &str, partition: u16) -> bool {
        self.kind.is_none() && self.is_of(consumer) && self.is_in(partition)
    }

    /// Whether it is of this consumer, or of a part of it.
    fn is_of(&self, consumer: &str) -> bool {
        self.part == Part::Consumer && self.consumer.as_deref().is_none_or(|name| name == consumer)
    }

    fn is_in(&self, partition: u16) -> bool {
        self.partition_number.is_none_or(|number| number == i32::from(partition))
    }

    /// What is shown of what it stops.
    fn paused(&self) -> Paused {
        let Self { seq, operator, reason, pause_time, .. } = self;
        Paused { reason: format!("paused by {operator}: {reason} (pause {seq})"), since: *pause_time }
    }
}

/// Why something is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paused {
    /// By whom and why.
    pub(crate) reason: String,
    /// Since when, in microseconds since the Unix epoch.
    pub(crate) since: i64,
}

/// The pauses of a service as this process knows them. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Pauses(Arc<Known>);

#[derive(Debug)]
struct Known {
    /// `None` before they were read for the first time: nothing that may be paused begins before that.
    rows: watch::Sender<Option<Arc<[Model]>>>,
    /// Why they could not be read, the last time.
    failure: watch::Sender<Option<Failure>>,
    /// Asks for a look before its time.
    look: Notify,
    /// Whether there is a table of them.
    is_followed: bool,
}

impl Pauses {
    /// For who cannot be paused.
    #[must_use]
    pub fn none() -> Self {
        Self::known(Some(Arc::default()), false)
    }

    /// Those of a service, which are known once [`Pauses::follow`] has read them.
    #[must_use]
    pub fn unread() -> Self {
        Self::known(None, true)
    }

    fn known(rows: Option<Arc<[Model]>>, is_followed: bool) -> Self {
        let (rows, failure) = (watch::Sender::new(rows), watch::Sender::new(None));
        Self(Arc::new(Known { rows, failure, look: Notify::new(), is_followed }))
    }

    /// Reads them once a second until `stop`. While the database is away, those that were read last stay.
    pub async fn follow(self, database: Database, stop: CancellationToken) {
        let (mut backoff, mut failing) = (Backoff::up_to(POLL), false);
        loop {
            let rest = match list(database.read()).await {
                Ok(rows) => {
                    failing = false;
                    backoff.reset();
                    self.0.failure.send_replace(None);
                    self.set(rows.into());
                    POLL
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    if !std::mem::replace(&mut failing, true) {
                        observe::storage_failed("pauses", &failure);
                    }
                    self.0.failure.send_replace(Some(failure));
                    backoff.delay()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.0.look.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Reads them once, now, for who must not rest on what was read before. Of who cannot be paused there are none.
    pub(crate) async fn read_now(&self, database: &Database) -> Result<(), DbErr> {
        if self.0.is_followed {
            self.set(list(database.read()).await?.into());
        }
        Ok(())
    }

    /// Lets [`Pauses::follow`] look at once: something was paused or resumed.
    pub fn look(&self) {
        self.0.look.notify_one();
    }

    /// Those that were read last, for who shows what waits for them. Empty before they were read.
    #[must_use]
    pub fn now(&self) -> Arc<[Model]> {
        self.0.rows.borrow().clone().unwrap_or_default()
    }

    /// Whether anything is paused.
    pub(crate) fn any(&self) -> bool {
        self.0.rows.borrow().as_ref().is_some_and(|rows| !rows.is_empty())
    }

    fn set(&self, rows: Arc<[Model]>) {
        self.0.rows.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&rows);
            if changed {
                observe::pauses(known.as_deref().unwrap_or_default(), &rows);
                *known = Some(rows);
            }
            changed
        });
    }

    /// Waits until they were read.
    pub(crate) async fn read(&self) {
        self.when(|_| Some(())).await;
    }

    /// Why they could not be read, each time that they could not.
    pub(crate) fn failures(&self) -> watch::Receiver<Option<Failure>> {
        self.0.failure.subscribe()
    }

    /// Why the relay is paused, if it is.
    pub(crate) fn of_relay(&self) -> Option<Paused> {
        relay(&self.now())
    }

    /// Waits until the relay is paused, or no longer, or for another reason than `before`.
    pub(crate) async fn relay_changes(&self, before: Option<&Paused>) {
        self.when(|rows| (relay(rows).as_ref() != before).then_some(())).await;
    }

    /// Why a partition of a consumer is paused, if it is.
    pub(crate) fn of_partition(&self, consumer: &str, number: u16) -> Option<Paused> {
        partition(&self.now(), consumer, number)
    }

    /// Waits until a partition is paused, or no longer, or for another reason than `before`.
    pub(crate) async fn partition_changes(&self, consumer: &str, number: u16, before: Option<&Paused>) {
        self.when(|rows| (partition(rows, consumer, number).as_ref() != before).then_some(())).await;
    }

    /// Why messages of a kind are paused that come in a partition of a consumer, if they are; `number` is called only if it matters.
    pub(crate) fn of_kind(&self, consumer: &str, kind: &str, number: impl FnOnce() -> u16) -> Option<Paused> {
        let rows = self.now();
        if rows.is_empty() {
            return None;
        }
        let number = number();
        let of = |pause: &&Model| pause.kind.as_deref() == Some(kind) && pause.is_of(consumer);
        all(rows.iter().filter(of).filter(|pause| pause.is_in(number)))
    }

    /// The kinds of a consumer that are paused in each of its partitions.
    pub(crate) fn kinds(&self, consumer: &str) -> Vec<String> {
        let whole = |pause: &&Model| pause.is_of(consumer) && pause.partition_number.is_none();
        self.now().iter().filter(whole).filter_map(|pause| pause.kind.clone()).collect()
    }

    /// The pauses of single kinds of a consumer, each by the name of what it stops: `kind.KIND`, or `kind.KIND.PARTITION`.
    pub(crate) fn of_kinds(&self, consumer: &str) -> Vec<(String, Paused)> {
        let rows = self.now();
        let mut parts: BTreeMap<String, Vec<&Model>> = BTreeMap::new();
        for pause in rows.iter().filter(|pause| pause.is_of(consumer)) {
            if let Some(kind) = &pause.kind {
                let part = pause.partition_number.map_or_else(String::new, |number| format!(".{number}"));
                parts.entry(format!("kind.{kind}{part}")).or_default().push(pause);
            }
        }
        parts.into_iter().filter_map(|(name, pauses)| Some((name, all(pauses.into_iter())?))).collect()
    }

    /// Waits until others are there than `before`.
    pub(crate) async fn change(&self, before: &[Model]) {
        self.when(|rows| (rows != before).then_some(())).await;
    }

    async fn when<T>(&self, of: impl Fn(&[Model]) -> Option<T>) -> T {
        let mut known = self.0.rows.subscribe();
        loop {
            let found = known.borrow_and_update().as_deref().and_then(&of);
            if let Some(found) = found {
                return found;
            }
            // The sender is here: it cannot be gone.
            if known.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Default for Pauses {
    fn default() -> Self {
        Self::none()
    }
}

fn relay(rows: &[Model]) -> Option<Paused> {
    all(rows.iter().filter(|pause| pause.part == Part::Relay))
}

fn partition(rows: &[Model], consumer: &str, number: u16) -> Option<Paused> {
    all(rows.iter().filter(|pause| pause.stops(consumer, number)))
}

/// What is shown where each of these has to end, if there are any.
fn all<'p>(pauses: impl Iterator<Item = &'p Model>) -> Option<Paused> {
    let pauses: Vec<&Model> = pauses.collect();
    let (first, others) = pauses.split_first()?;
    let Paused { reason, since } = first.paused();
    if others.is_empty() {
        return Some(Paused { reason, since });
    }
    let numbers: Vec<String> = others.iter().map(|pause| pause.seq.to_string()).collect();
    let (count, numbers) = (pauses.len(), numbers.join(", "));
    Some(Paused {
        reason: format!("{reason}, one of {count} pauses, each of which has to end: also {numbers}"),
        since,
    })
}
