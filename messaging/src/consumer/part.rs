//! Parts of what was received: what commits together, and what is tried instead when that fails.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use sea_orm::DbErr;
use storage::Failure;

use crate::{broker::Delivery, observe, parked::Form};

/// The payloads of one transaction, in bytes, unless a single one is larger.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A part that others get in the way of is cut into halves after so many attempts, of which each is four transactions: most contention
/// is over by then, and what lasts concerns few messages.
const CONTENDED_TOGETHER: u32 = 3;
/// A message that stands alone is at fault after so many attempts and, at the same time, so long after its first failure.
const CONTENDED_ALONE: u32 = 10;
/// What it rests on was read again each time and has changed again each time: nobody is as unlucky for so long, so what is stored
/// contradicts itself.
const LASTING_CONFLICT: Duration = Duration::from_secs(10);
/// Others hold what it needs. A migration or the transaction of an operator may do so for minutes, and is no fault of the message.
const LASTING_LOCK: Duration = Duration::from_secs(300);
/// Keys that are remembered for a lasting conflict at most.
const SUSPECTS: usize = 100;

/// Cuts what was received into parts that are not too large, the first on top.
pub(super) fn cut(batch: Vec<Delivery>) -> Vec<Part> {
    let (mut parts, mut part, mut filled) = (Vec::new(), Vec::new(), 0);
    for delivery in batch {
        if let Some(story) = delivery.dead.clone() {
            // It is not tried: it is parked, each alone because it has a story of its own.
            let fault = Some(Fault { reason: story, form: Form::Readable });
            parts.push(Part { fault, ..Part::new(vec![delivery]) });
            continue;
        }
        let size = match &delivery.message {
            Ok(message) => message.payload.len(),
            Err(junk) => junk.payload.len(),
        };
        if !part.is_empty() && filled + size > BATCH_BYTES {
            parts.push(Part::new(std::mem::take(&mut part)));
            filled = 0;
        }
        filled += size;
        part.push(delivery);
    }
    if !part.is_empty() {
        parts.push(Part::new(part));
    }
    parts.reverse();
    parts
}

/// A run of deliveries that commits together.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) deliveries: Arc<[Delivery]>,
    /// How often its messages have been tried, this time included.
    pub(super) attempts: i32,
    /// Why its only message cannot be handled: it is to be parked.
    pub(super) fault: Option<Fault>,
    /// When its messages failed first.
    failing_since: Option<Instant>,
    /// How often others got in its way.
    contended: u32,
}

/// Why a message is to be parked, and how that is written down.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) reason: String,
    pub(super) form: Form,
}

/// What comes after a failure.
#[derive(Debug)]
pub(super) struct Next {
    /// What to try, the first on top.
    pub(super) parts: Vec<Part>,
    /// Whether to wait before.
    pub(super) pause: bool,
    /// The database refuses a message even where it is to be parked: only somebody who acts can change that.
    pub(super) refused: bool,
}

impl Next {
    fn at_once(parts: Vec<Part>) -> Self {
        Self { parts, pause: false, refused: false }
    }

    fn later(part: Part) -> Self {
        Self { parts: vec![part], pause: true, refused: false }
    }
}

/// Keys of which a message was parked because of a lasting conflict: the next one will hardly fare better, and does not hold up its
/// partition as long.
#[derive(Debug, Default)]
pub(super) struct Suspects(HashSet<String>);

impl Suspects {
    /// Messages of these were handled: whatever was in the way is gone.
    pub(super) fn clear(&mut self, deliveries: &[Delivery]) {
        if !self.0.is_empty() {
            for key in keys(deliveries) {
                self.0.remove(key);
            }
        }
    }

    fn add(&mut self, deliveries: &[Delivery]) {
        if self.0.len() >= SUSPECTS {
            self.0.clear();
        }
        self.0.extend(keys(deliveries).map(str::to_owned));
    }

    fn contain(&self, deliveries: &[Delivery]) -> bool {
        keys(deliveries).any(|key| self.0.contains(key))
    }
}

fn keys(deliveries: &[Delivery]) -> impl Iterator<Item = &str> {
    deliveries.iter().filter_map(|delivery| Some(delivery.message.as_ref().ok()?.key.as_str()))
}

impl Part {
    fn new(deliveries: Vec<Delivery>) -> Self {
        Self { deliveries: deliveries.into(), attempts: 1, fault: None, failing_since: None, contended: 0 }
    }

    /// What to try after a failure of this part.
    pub(super) fn after(mut self, failure: &Failure, suspects: &mut Suspects) -> Next {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        self.attempts = self.attempts.saturating_add(1);
        match (failure, self.fault.take()) {
            (Failure::Contention(cause), None) => {
                self.contended += 1;
                if self.is_at_fault(cause, since, suspects) {
                    return Next::at_once(vec![self.parked(failure)]);
                }
                if self.deliveries.len() > 1 && self.contended >= CONTENDED_TOGETHER {
                    return Next::at_once(self.halves());
                }
                Next::later(self)
            }
            (passing, fault) if passing.passes() => {
                // The time in which nothing could be tried proves nothing.
                self.failing_since = None;
                Next::later(Self { fault, ..self })
            }
            (_, None) if self.deliveries.len() == 1 => Next::at_once(vec![self.parked(failure)]),
            (_, None) => Next::at_once(self.halves()),
            (_, Some(Fault { reason, form: Form::Readable })) => {
                let reason = format!("{reason}; parked in ASCII, because of {}", observe::chain(failure));
                Next::at_once(vec![Self { fault: Some(Fault { reason, form: Form::Ascii }), ..self }])
            }
            (_, fault) => Next { refused: true, ..Next::later(Self { fault, ..self }) },
        }
    }

    /// Whether the contention is a fault of the only message.
    fn is_at_fault(&self, cause: &DbErr, since: Instant, suspects: &mut Suspects) -> bool {
        if self.deliveries.len() > 1 {
            return false;
        }
        let conflict = matches!(cause, DbErr::RecordNotUpdated | DbErr::RecordNotInserted);
        if conflict && suspects.contain(&self.deliveries) {
            return true;
        }
        let lasting = if conflict { LASTING_CONFLICT } else { LASTING_LOCK };
        let at_fault = self.contended >= CONTENDED_ALONE && since.elapsed() >= lasting;
        if at_fault && conflict {
            suspects.add(&self.deliveries);
        }
        at_fault
    }

    fn parked(self, failure: &Failure) -> Self {
        let fault = Fault { reason: observe::chain(failure), form: Form::Readable };
        // The attempt that parks it is not one more at handling it.
        Self { fault: Some(fault), attempts: self.attempts - 1, ..self }
    }

    fn halves(self) -> Vec<Self> {
        let (first, second) = self.deliveries.split_at(self.deliveries.len() / 2);
        let half = |half: &[Delivery]| Self {
            deliveries: half.into(),
            attempts: self.attempts,
            fault: None,
            failing_since: self.failing_since,
            // A half with the same trouble is cut at once, but a message that stands alone is to have its own attempts.
            contended: if half.len() > 1 { self.contended } else { 0 },
        };
        [second, first].map(half).into()
    }
}
