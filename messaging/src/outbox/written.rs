//! What this process has just written, handed to its relay: that publishes it without a look at the table, where nothing older waits.
//!
//! The table is what counts: whatever is not handed over, or may not leave yet, is found there. The order of a key is kept, because the statement
//! that writes messages also reads which ones wait: one that begins after the commit of another message of its key finds that one among them, or it
//! has been published. A relay that has not published all of these itself looks at the table.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use sea_orm::DbBackend;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::envelope::Envelope;

/// Messages that are handed over at a time, and bytes of their payloads.
const HANDED_OVER: usize = 64;
const BYTES: usize = 4 * 1_024 * 1_024;
/// Messages of which a relay knows what became: those that were there a moment ago, when a statement looked.
const REMEMBERED: usize = 2_000;

/// The ids of the messages that wait, as one text; NULL where there are eight: at such a rate the relay had better take many at a
/// time.
const WAITING: &str =
    "(SELECT CASE WHEN count(*) < 8 THEN coalesce(string_agg(CAST(message_id AS text), ','), '') END
    FROM (SELECT message_id FROM outbox ORDER BY seq LIMIT 8) AS first)";

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
    /// The statements that write take long to look.
    is_slow: bool,
    look: bool,
    written: Vec<Written>,
    /// Of their payloads.
    bytes: usize,
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

    /// See [`Outbox::waiting`](super::Outbox::waiting).
    pub(super) fn reading(&self, backend: DbBackend) -> Option<&'static str> {
        let waiting = self.waiting();
        (backend == DbBackend::Postgres && waiting.is_open && !waiting.is_slow).then_some(WAITING)
    }

    pub(super) fn slow(&self, is_slow: bool) {
        self.waiting().is_slow = is_slow;
    }

    pub(super) async fn woken(&self) {
        self.wake_up.notified().await;
    }

    /// Takes what is handed over, until the guard is dropped. Before it, the table has to be looked at.
    pub(super) fn open(&self) -> Open<'_> {
        self.waiting().begin(true);
        Open(self)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Forgets what was handed over, and returns it.
    fn begin(&mut self, is_open: bool) -> Self {
        let next = Self { is_open, is_slow: self.is_slow, ..Self::default() };
        std::mem::replace(self, next)
    }

    /// The table has what was handed over as well.
    fn look(&mut self) {
        self.look = true;
        self.written.clear();
        self.bytes = 0;
    }

    fn hand_over(&mut self, messages: Vec<Envelope>, read: &str) {
        let ids = read.split(',').filter(|id| !id.is_empty()).map(Uuid::parse_str);
        let bytes = self.bytes + messages.iter().map(|message| message.payload.len()).sum::<usize>();
        let fits = self.written.len() + messages.len() <= HANDED_OVER && bytes <= BYTES;
        match ids.collect::<Result<Vec<Uuid>, _>>() {
            Ok(waiting) if self.is_open && !self.look && fits => {
                self.bytes = bytes;
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
    pub(crate) fn next(&self, seen: &Seen) -> Next {
        let waiting = self.0.waiting().begin(true);
        if waiting.look {
            return Next::Look;
        }
        let (mut sooner, mut messages) = (HashSet::new(), Vec::with_capacity(waiting.written.len()));
        for Written { message, waiting } in waiting.written {
            if waiting.iter().any(|id| seen.get(id) != Some(true) && !sooner.contains(id)) {
                return Next::Look;
            }
            sooner.insert(message.id);
            // A look may have been faster.
            match seen.get(&message.id) {
                None => messages.push(message),
                Some(true) => {}
                // It has a time at which it is tried again, and holds back others until then.
                Some(false) => return Next::Look,
            }
        }
        if messages.is_empty() { Next::Rest } else { Next::Publish(messages) }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let _the_table_has_it = self.0.waiting().begin(false);
    }
}

/// What became of the messages that a relay has had last.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Whether the broker has taken each over.
    ids: HashMap<Uuid, bool>,
    order: VecDeque<Uuid>,
}

impl Seen {
    pub(crate) fn add(&mut self, id: Uuid, is_confirmed: bool) {
        if self.ids.insert(id, is_confirmed).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    fn get(&self, id: &Uuid) -> Option<bool> {
        self.ids.get(id).copied()
    }
}
