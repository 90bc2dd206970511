//! What this process has just written, handed to its relay: that publishes it without a look at the table, where nothing older waits.
//!
//! The table is what counts: whatever is not handed over, or may not leave yet, is found there. The order of a key is kept, because the statement
//! that writes messages also reads which ones wait: what is written later than another message of its key finds that one among them, or it has been
//! published. A relay that has not published all of these itself looks at the table.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use sea_orm::DbBackend;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::envelope::Envelope;

/// Messages that a statement looks at. At a rate at which more wait, the relay had better take many at a time.
const LOOKED_AT: usize = 8;
/// Messages that are handed over at a time: with the limit of each, 16 MiB.
const HANDED_OVER: usize = 64;
/// Messages that a relay knows it has published: those that were there a moment ago, when a statement looked.
const REMEMBERED: usize = 2_000;

/// The ids of messages that wait in the outbox, as one text: what a single statement that writes messages has to return for
/// [`Outbox::written`](super::Outbox::written). `None` where the look is cheaper: SQLite has no round trips.
#[must_use]
pub const fn waiting(backend: DbBackend) -> Option<&'static str> {
    match backend {
        // LOOKED_AT.
        DbBackend::Postgres => Some(
            "(SELECT coalesce(string_agg(CAST(message_id AS text), ','), '')
              FROM (SELECT message_id FROM outbox ORDER BY seq LIMIT 8) AS first)",
        ),
        _ => None,
    }
}

/// A message, and those that waited when it was written.
#[derive(Debug)]
struct Written {
    message: Envelope,
    waiting: Vec<Uuid>,
}

/// What a relay has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing.
    Rest,
    /// To look at the table.
    Look,
    /// To publish these, in their order.
    Publish(Vec<Envelope>),
}

/// The way from those who write to the relay of their process.
#[derive(Debug, Default)]
pub(super) struct Handover {
    waiting: Mutex<Waiting>,
    wake_up: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// A relay takes what is handed over.
    is_open: bool,
    look: bool,
    written: Vec<Written>,
}

impl Handover {
    /// Messages were committed, that are handed over or have to be looked for.
    pub(super) fn wake(&self) {
        self.waiting().look();
        self.wake_up.notify_one();
    }

    pub(super) fn written(&self, messages: Vec<Envelope>, read: &str) {
        self.waiting().hand_over(messages, read);
        self.wake_up.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.wake_up.notified().await;
    }

    /// Takes what is handed over, until the guard is dropped. Before it, the table has to be looked at.
    pub(super) fn open(&self) -> Open<'_> {
        *self.waiting() = Waiting::opened();
        Open(self)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn opened() -> Self {
        Self { is_open: true, ..Self::default() }
    }

    /// The table has what was handed over as well.
    fn look(&mut self) {
        self.look = true;
        self.written.clear();
    }

    fn hand_over(&mut self, messages: Vec<Envelope>, read: &str) {
        let ids = read.split(',').filter(|id| !id.is_empty()).map(Uuid::parse_str);
        match ids.collect::<Result<Vec<Uuid>, _>>() {
            Ok(waiting)
                if self.is_open
                    && !self.look
                    && waiting.len() < LOOKED_AT
                    && self.written.len() + messages.len() <= HANDED_OVER =>
            {
                let written = |message| Written { message, waiting: waiting.clone() };
                self.written.extend(messages.into_iter().map(written));
            }
            _ => self.look(),
        }
    }
}

/// While a relay takes what is handed over.
pub(crate) struct Open<'h>(&'h Handover);

impl Open<'_> {
    /// What is to be done: after [`Next::Look`] the look finds everything that was handed over before.
    pub(crate) fn next(&self, published: &Published) -> Next {
        let waiting = std::mem::replace(&mut *self.0.waiting(), Waiting::opened());
        if waiting.look {
            return Next::Look;
        }
        let (mut sooner, mut messages) = (HashSet::new(), Vec::with_capacity(waiting.written.len()));
        for Written { message, waiting } in waiting.written {
            if waiting.iter().any(|id| !published.contains(id) && !sooner.contains(id)) {
                return Next::Look;
            }
            sooner.insert(message.id);
            // A look may have been faster.
            if !published.contains(&message.id) {
                messages.push(message);
            }
        }
        if messages.is_empty() { Next::Rest } else { Next::Publish(messages) }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        *self.0.waiting() = Waiting::default();
    }
}

/// The messages that a relay has published last.
#[derive(Debug, Default)]
pub(crate) struct Published {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Published {
    pub(crate) fn add(&mut self, id: Uuid) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    fn contains(&self, id: &Uuid) -> bool {
        self.ids.contains(id)
    }
}
