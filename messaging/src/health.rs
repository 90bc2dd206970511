//! The state of each part of messaging (the relay, each partition of a consumer, the topology on the broker), readable without I/O.

mod condition;
mod queues;
mod report;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use storage::Failure;

use self::queues::Queues;
pub use self::{
    condition::{Cause, Condition},
    report::Report,
};
use crate::{
    broker::{BrokerError, Depth},
    observe,
    pauses::{Paused, Pauses},
    rate::Rate,
    retry,
};

/// How often a lasting state is logged again: an outage explains itself, what never cures itself waits for a person.
const DEGRADED_AGAIN: Duration = Duration::from_secs(60);
const FAILED_AGAIN: Duration = Duration::from_secs(300);

/// The states of all parts of one service. Cloning shares them; reading takes a lock that nobody holds for long.
#[derive(Clone, Default)]
pub struct Health {
    // Taken when a state changes or is read, never for a message.
    states: Arc<Mutex<States>>,
    /// By the relay or consumer. Taken when a part begins, and when an operator asks.
    rates: Arc<Mutex<BTreeMap<String, Arc<Rate>>>>,
}

#[derive(Debug, Default)]
struct States {
    parts: BTreeMap<String, State>,
    /// By the name of the queue.
    dead_letters: BTreeMap<String, u64>,
    queues: Queues,
}

#[derive(Debug)]
struct State {
    /// The relay or consumer that it is a part of.
    of: String,
    condition: Condition,
    /// When it was logged last; `None` before the first time.
    logged: Option<Instant>,
    /// How many of its messages wait apart; `None` for what has none to keep apart.
    waiting: Option<usize>,
}

impl State {
    fn show(&self, name: &str) {
        observe::part_state(name, &self.of, &self.condition);
        if let Some(messages) = self.waiting {
            observe::waiting(&self.of, name, messages);
        }
    }
}

impl Health {
    /// The states of a service whose parts have not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every part by its name, such as `relay`, `consumer.0` for a partition or `topology`, in alphabetical order.
    #[must_use]
    pub fn parts(&self) -> Vec<(String, Condition)> {
        let states = self.states();
        // Readiness is requested all the time: a gauge that is not set any more is not shown.
        states.parts.iter().for_each(|(name, state)| state.show(name));
        states.parts.iter().map(|(name, state)| (name.clone(), state.condition.clone())).collect()
    }

    /// Why the relay publishes nothing by an operator's will, if so.
    #[must_use]
    pub fn paused_relay(&self) -> Option<String> {
        let states = self.states();
        let relay = states.parts.get("relay");
        match relay.map(|state| &state.condition) {
            Some(Condition::Paused { reason, .. }) => Some(reason.clone()),
            _ => None,
        }
    }

    /// Messages that the broker has given up and that are not parked yet, in all dead-letter queues of the mesh.
    #[must_use]
    pub fn dead_letters(&self) -> u64 {
        self.states().dead_letters.values().sum()
    }

    /// Sets what the dead-letter queues hold.
    pub(crate) fn set_dead_letters(&self, queues: BTreeMap<String, u64>) {
        for (queue, messages) in &queues {
            observe::dead_letters(queue, *messages);
        }
        self.states().dead_letters = queues;
    }

    /// What the broker said last of the queue with this name; `None` where it has not been asked lately.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<Depth> {
        self.states().queues.depth(name)
    }

    /// Whether all of these queues were empty when the broker was asked, which must have been after that moment: what it said before
    /// says nothing of what has come since. A queue that is missing holds nothing.
    #[must_use]
    pub fn are_empty(&self, queues: impl IntoIterator<Item = String>, since: Instant) -> bool {
        self.states().queues.are_empty(queues, since)
    }

    /// Sets what the queues of the mesh hold, of which the broker was asked from that moment on.
    pub(crate) fn set_queues(&self, asked: Instant, depths: BTreeMap<String, Depth>) {
        observe::queues(&depths);
        self.states().queues = Queues::Seen { asked, depths };
    }

    /// There are no queues.
    pub(crate) fn set_no_queues(&self) {
        self.states().queues = Queues::Absent;
    }

    /// How many messages a second the relay or consumer of this name has got rid of in the last ten seconds, in this process.
    #[must_use]
    pub fn per_second(&self, of: &str) -> f64 {
        self.rates().get(of).map_or(0.0, |rate| rate.per_second())
    }

    /// What is said of the parts to the other processes of the service.
    #[must_use]
    pub fn report(&self) -> Report {
        let states = self.states();
        let failing = states.parts.iter().filter(|(_, state)| state.condition.is_failing());
        let parts = failing.map(|(name, state)| (name.clone(), state.condition.clone())).collect();
        drop(states);
        let rates = self.rates().iter().map(|(of, rate)| (of.clone(), rate.per_second())).collect();
        Report { parts, rates }
    }

    fn rates(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Rate>>> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle of a part that begins, of the relay or consumer with the name `of`.
    pub(crate) fn part(&self, name: impl Into<String>, of: &str) -> Part {
        let rate = self.rates().entry(of.to_owned()).or_insert_with(|| Arc::new(Rate::new())).clone();
        let part = Part { health: self.clone(), name: name.into(), of: of.to_owned(), rate };
        let reason = "not connected yet".to_owned();
        let condition = Condition::Degraded { cause: Cause::Starting, reason, since: retry::now() };
        observe::part_state(&part.name, of, &condition);
        self.states()
            .parts
            .insert(part.name.clone(), State { of: of.to_owned(), condition, logged: None, waiting: None });
        part
    }

    fn states(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("parts", &self.parts()).finish_non_exhaustive()
    }
}

/// Who reports the state of one part. Each change is logged, and a lasting state now and then.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    health: Health,
    name: String,
    of: String,
    rate: Arc<Rate>,
}

impl Part {
    /// So many messages have left.
    pub(crate) fn count(&self, messages: usize) {
        self.rate.count(messages);
    }

    /// So many of its messages wait apart from the others, which is shown from now on as long as it is so.
    pub(crate) fn waiting(&self, messages: usize) {
        if let Some(state) = self.health.states().parts.get_mut(&self.name) {
            state.waiting = Some(messages);
            observe::waiting(&self.of, &self.name, messages);
        }
    }

    /// Another part of the same relay or consumer.
    pub(crate) fn beside(&self, name: &str) -> Self {
        self.health.part(name, &self.of)
    }

    /// Where it reports to.
    pub(crate) const fn health(&self) -> &Health {
        &self.health
    }

    /// It works.
    pub(crate) fn ok(&self) {
        self.report(Condition::Ok);
    }

    /// It does not work, and may by itself.
    pub(crate) fn degraded(&self, cause: Cause, reason: impl Into<String>) {
        self.report(Condition::Degraded { cause, reason: reason.into(), since: retry::now() });
    }

    /// It does not work until somebody acts.
    pub(crate) fn failed(&self, cause: Cause, reason: impl Into<String>) {
        self.report(Condition::Failed { cause, reason: reason.into(), since: retry::now() });
    }

    /// An operator has paused it.
    pub(crate) fn paused(&self, Paused { reason, since }: Paused) {
        self.report(Condition::Paused { reason, since });
    }

    /// It is no part any more.
    pub(crate) fn gone(&self) {
        self.health.states().parts.remove(&self.name);
    }

    /// The broker cannot be used: what it refuses is never cured by trying again.
    pub(crate) fn broker_failed(&self, error: &BrokerError) {
        match error {
            BrokerError::Connection(_) => self.degraded(Cause::Broker, observe::chain(error)),
            BrokerError::Refused(_) => self.failed(Cause::Broker, observe::chain(error)),
        }
    }

    /// The database does not give or take what it needs: `what`, in words.
    pub(crate) fn database_failed(&self, what: &str, failure: &Failure) {
        self.degraded(Cause::Database, format!("{what}: {}", observe::chain(failure)));
    }

    /// Waits until the pauses were read, before which it does not begin, and shows why they were not.
    pub(crate) async fn await_pauses(&self, pauses: &Pauses) {
        let mut failures = pauses.failures();
        loop {
            let failure = failures.borrow_and_update().clone();
            if let Some(failure) = failure {
                self.database_failed("the pauses cannot be read", &failure);
            }
            tokio::select! {
                () = pauses.read() => return,
                Ok(()) = failures.changed() => {}
            }
        }
    }

    fn report(&self, mut now: Condition) {
        let mut states = self.health.states();
        let Some(state) = states.parts.get_mut(&self.name) else { return };
        now.keep_beginning(&state.condition);
        let elapsed = state.logged.map(|logged| logged.elapsed());
        let due = match (&state.condition, &now) {
            (Condition::Ok, Condition::Ok) => return,
            // The first connection of a start is nothing new.
            (Condition::Degraded { .. }, Condition::Ok) => state.logged.is_some(),
            (Condition::Degraded { cause, .. }, Condition::Degraded { cause: other, .. }) => {
                cause != other || elapsed.is_none_or(|since| since >= DEGRADED_AGAIN)
            }
            (Condition::Failed { reason, .. }, Condition::Failed { reason: other, .. }) => {
                reason != other || elapsed.is_none_or(|since| since >= FAILED_AGAIN)
            }
            (Condition::Paused { reason, .. }, Condition::Paused { reason: other, .. }) => reason != other,
            _ => true,
        };
        if due {
            state.logged = Some(Instant::now());
            observe::part_changed(&self.name, &self.of, &now);
        }
        observe::part_state(&self.name, &self.of, &now);
        state.condition = now;
    }
}

#[cfg(test)]
mod tests;
