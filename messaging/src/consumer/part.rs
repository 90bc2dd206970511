//! Parts of what was received: what commits together, and what is tried instead when that fails.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::DbErr;
use storage::Failure;

use crate::{broker::Delivery, observe, parked::Form};

/// The payloads of one transaction, in bytes, unless a single one is larger.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A part that others get in the way of is cut into its keys or halves after so many attempts, of which each is four transactions: most
/// contention is over by then, and what lasts concerns few messages. What somebody holds is waited for once.
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
        let size = delivery.bytes();
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
#[derive(Debug, Clone)]
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
    /// It is tried beside the others of its partition, which do not wait for it. All its messages have one key.
    pub(super) apart: bool,
}

/// The partition key of a message; `None` for what could not be decoded.
pub(super) type Key = Option<String>;

pub(super) fn key(delivery: &Delivery) -> Key {
    delivery.message.as_ref().ok().map(|message| message.key.clone())
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
    /// What is to be tried apart, key by key.
    pub(super) apart: Option<Part>,
}

impl Next {
    fn at_once(parts: Vec<Part>) -> Self {
        Self { parts, pause: false, refused: false, apart: None }
    }

    fn later(part: Part) -> Self {
        Self { pause: true, ..Self::at_once(vec![part]) }
    }

    fn apart(part: Part) -> Self {
        Self { apart: Some(part), ..Self::at_once(Vec::new()) }
    }
}

/// Keys of which a message was parked because of a lasting conflict: the next one will hardly fare better, and does not hold up its
/// partition as long.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<HashSet<String>>);

impl Suspects {
    /// Messages of these were handled: whatever was in the way is gone.
    pub(super) fn clear(&self, deliveries: &[Delivery]) {
        let mut suspects = self.keys();
        if !suspects.is_empty() {
            for key in keys(deliveries) {
                suspects.remove(key);
            }
        }
    }

    fn add(&self, deliveries: &[Delivery]) {
        let mut suspects = self.keys();
        if suspects.len() >= SUSPECTS {
            suspects.clear();
        }
        suspects.extend(keys(deliveries).map(str::to_owned));
    }

    fn contain(&self, deliveries: &[Delivery]) -> bool {
        let suspects = self.keys();
        keys(deliveries).any(|key| suspects.contains(key))
    }

    fn keys(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keys(deliveries: &[Delivery]) -> impl Iterator<Item = &str> {
    deliveries.iter().filter_map(|delivery| Some(delivery.message.as_ref().ok()?.key.as_str()))
}

impl Part {
    fn new(deliveries: Vec<Delivery>) -> Self {
        let deliveries = deliveries.into();
        Self { deliveries, attempts: 1, fault: None, failing_since: None, contended: 0, apart: false }
    }

    /// Messages of one key that waited since then for others of that key.
    pub(super) fn behind(deliveries: Vec<Delivery>, since: Instant) -> Self {
        Self { failing_since: Some(since), apart: true, ..Self::new(deliveries) }
    }

    /// Without the messages for which `waits` is so, and those.
    pub(super) fn without(self, waits: impl Fn(&Delivery) -> bool) -> (Self, Vec<Delivery>) {
        if !self.deliveries.iter().any(&waits) {
            return (self, Vec::new());
        }
        let (waiting, rest): (Vec<_>, Vec<_>) = self.deliveries.iter().cloned().partition(waits);
        (Self { deliveries: rest.into(), ..self }, waiting)
    }

    /// Its messages by their keys, each in their order.
    pub(super) fn by_key(&self) -> Vec<(Key, Self)> {
        let mut places = HashMap::new();
        let mut keys: Vec<(Key, Vec<Delivery>)> = Vec::new();
        for delivery in self.deliveries.iter() {
            let key = key(delivery);
            let place = *places.entry(key.clone()).or_insert_with(|| {
                keys.push((key, Vec::new()));
                keys.len() - 1
            });
            keys[place].1.push(delivery.clone());
        }
        let apart = |deliveries| Self {
            attempts: self.attempts,
            failing_since: self.failing_since,
            apart: true,
            ..Self::new(deliveries)
        };
        keys.into_iter().map(|(key, deliveries)| (key, apart(deliveries))).collect()
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = u64> {
        self.deliveries.iter().map(|delivery| delivery.tag)
    }

    /// What to try after a failure of this part.
    pub(super) fn after(mut self, failure: &Failure, suspects: &Suspects) -> Next {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        self.attempts = self.attempts.saturating_add(1);
        match (failure, self.fault.take()) {
            (Failure::Contention(cause), None) => {
                self.contended += 1;
                let conflict = matches!(**cause, DbErr::RecordNotUpdated | DbErr::RecordNotInserted);
                if self.is_at_fault(conflict, since, suspects) {
                    return Next::at_once(vec![self.parked(failure)]);
                }
                // Which key it is nobody says, but only those of that one have to wait.
                if !self.apart && (failure.is_held() || conflict && self.contended >= CONTENDED_TOGETHER) {
                    return Next::apart(self);
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
    fn is_at_fault(&self, conflict: bool, since: Instant, suspects: &Suspects) -> bool {
        if self.deliveries.len() > 1 {
            return false;
        }
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
            apart: self.apart,
        };
        [second, first].map(half).into()
    }
}
