//! The keys of the issuer: read at the start, again from time to time, and when a token names one that is not known.
//!
//! One task reads them, whoever needs them. While the issuer is away they stay as they were, up to an age.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use chassis::{background, readiness::State, status::Chain};
use jsonwebtoken::Algorithm;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    fetch::Source,
    keys::{Key, Keys},
    refusal::{Check, Refusal},
    waiting::Waiting,
};

/// Between two looks, when nothing asks for one.
const REFRESH: Duration = Duration::from_secs(300);
/// The same, while the issuer is away or has no key that can be used: without callers, nothing else asks.
const RETRY: Duration = Duration::from_secs(10);
/// Between two looks at least: tokens with keys that do not exist cost the issuer one request in this time.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a caller waits for a key that is not known: for the pause, and for the issuer.
const PATIENCE: Duration = Duration::from_secs(7);

/// So many keys that cannot be used are named in the log.
const MOST_NAMED: usize = 10;

/// What is known of the issuer's keys.
#[derive(Debug, Clone, Default)]
struct Seen {
    keys: Arc<Keys>,
    /// One more with every change of the keys.
    generation: u64,
    /// When they were last seen at the issuer.
    at: Option<Instant>,
    /// The number of the last look that has begun.
    begun: u64,
    /// The number of the last look that has ended, whatever came of it.
    ended: u64,
    /// Why they could not be read at the last look, if so.
    away: Option<Arc<str>>,
}

/// The keys that may have signed a token, as far as is known.
#[derive(Debug)]
pub(crate) struct Candidates {
    pub(crate) keys: Vec<Arc<Key>>,
    /// Of the set that they are in.
    pub(crate) generation: u64,
    /// The number of the last look that had begun.
    begun: u64,
}

/// The keys of an issuer. Dropping it ends its task.
pub(crate) struct Jwks {
    seen: watch::Receiver<Seen>,
    /// Changes with the keys, and not with each look as `seen` does: open streams wait for it.
    changes: watch::Receiver<()>,
    wake: Arc<Notify>,
    waiting: Waiting,
    max_age: Duration,
    task: AbortHandle,
}

impl Drop for Jwks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Jwks {
    /// Reads keys for tokens of these algorithms from now on. Must be called inside of a tokio runtime.
    pub(crate) fn watch(source: Source, algorithms: Vec<Algorithm>, max_age: Duration) -> Self {
        let (seen, receiver) = watch::channel(Seen::default());
        let (changed, changes) = watch::channel(());
        let wake = Arc::new(Notify::new());
        let refresh = REFRESH.min(max_age / 2);
        let looks = Looks { source, algorithms, seen, changed, wake: Arc::clone(&wake), refresh };
        let task = background::spawn("the look at the keys of the issuer", looks.run()).abort_handle();
        Self { seen: receiver, changes, wake, waiting: Waiting::default(), max_age, task }
    }

    /// The generation of the keys in force; `None` when there are none: the issuer has none, or they have not been seen for too long.
    pub(crate) fn generation(&self) -> Option<u64> {
        let seen = self.seen.borrow();
        self.is_good(&seen).then_some(seen.generation)
    }

    /// The keys in force with this id for this algorithm.
    pub(crate) fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> Candidates {
        self.among(&self.seen.borrow(), id, algorithm)
    }

    /// The same, once a look at the issuer has ended that began after those `before` were found, or the keys have changed since, for a
    /// caller from this address.
    ///
    /// # Errors
    /// Too many wait already: nobody has looked for this token's key, so it may be a good one.
    pub(crate) async fn look(
        &self,
        before: &Candidates,
        id: Option<&str>,
        algorithm: Algorithm,
        from: Option<IpAddr>,
    ) -> Result<Candidates, Refusal> {
        let _permit = self.waiting.enter(from).ok_or(Refusal::Crowded)?;
        self.wake.notify_one();
        let mut seen = self.seen.clone();
        // A look that has begun before may have missed the key.
        let looked = seen.wait_for(|seen| {
            let appeared = || before.keys.is_empty() && !self.among(seen, id, algorithm).keys.is_empty();
            seen.ended > before.begun || seen.generation != before.generation || appeared()
        });
        let found = match timeout(PATIENCE, looked).await {
            Ok(Ok(seen)) => Some(self.among(&seen, id, algorithm)),
            Ok(Err(_)) | Err(_) => None,
        };
        Ok(found.unwrap_or_else(|| self.candidates(id, algorithm)))
    }

    /// Becomes ready when the keys have changed since this was called.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        let mut changes = self.changes.clone();
        changes.mark_unchanged();
        changes
    }

    /// How long this key stays in force when the issuer is not seen again.
    ///
    /// # Errors
    /// It is not in force, or none is: then nothing is known of this one.
    pub(crate) fn rest(&self, key: &Key) -> Result<Duration, Refusal> {
        let seen = self.seen.borrow();
        let at = seen.at.filter(|_| self.is_good(&seen)).ok_or(Refusal::NoKeys)?;
        if seen.keys.has(key) {
            Ok(self.max_age.saturating_sub(at.elapsed()))
        } else {
            Err(Check::Key.into())
        }
    }

    /// Whether anybody can be let in, and whether the issuer can be read.
    pub(crate) fn state(&self) -> State {
        let seen = self.seen.borrow();
        match (self.is_good(&seen), &seen.away) {
            (true, None) => State::Ok,
            (true, Some(reason)) => {
                State::Degraded(format!("the keys that are known stay in force for a time: {reason}"))
            }
            (false, Some(reason)) => State::Failed(format!("nobody is let in without keys: {reason}")),
            (false, None) if seen.at.is_some() => State::Failed(
                "nobody is let in: the issuer publishes no key that verifies tokens here".to_owned(),
            ),
            (false, None) => State::Failed("the keys of the issuer have not been read yet".to_owned()),
        }
    }

    fn among(&self, seen: &Seen, id: Option<&str>, algorithm: Algorithm) -> Candidates {
        let keys = if self.is_good(seen) { seen.keys.find(id, algorithm) } else { Vec::new() };
        Candidates { keys, generation: seen.generation, begun: seen.begun }
    }

    /// Whether any keys are in force.
    fn is_good(&self, seen: &Seen) -> bool {
        seen.keys.len() > 0 && seen.at.is_some_and(|at| at.elapsed() < self.max_age)
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}

/// The task that looks.
struct Looks {
    source: Source,
    algorithms: Vec<Algorithm>,
    seen: watch::Sender<Seen>,
    changed: watch::Sender<()>,
    wake: Arc<Notify>,
    refresh: Duration,
}

impl Looks {
    async fn run(self) {
        let mut is_away = false;
        loop {
            let begun = Instant::now();
            self.seen.send_modify(|seen| seen.begun += 1);
            let read = self.source.read().await;
            let read = read.and_then(|document| Ok(Keys::read(&document, &self.algorithms)?));
            match read {
                Ok(keys) => {
                    if std::mem::take(&mut is_away) {
                        tracing::info!("the keys of the issuer can be read again");
                    }
                    self.note(keys);
                }
                Err(error) => {
                    let error = Chain(error.as_ref());
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(%error, "cannot read the keys of the issuer: those that are known stay in force for a time");
                    }
                    let reason = Arc::from(format!("cannot read the keys of the issuer: {error}"));
                    self.seen.send_modify(|seen| {
                        seen.ended = seen.begun;
                        seen.away = Some(reason);
                    });
                }
            }
            let has_none = self.seen.borrow().keys.len() == 0;
            let rest = if is_away || has_none { RETRY.min(self.refresh) } else { self.refresh };
            tokio::select! {
                () = self.wake.notified() => sleep_until(begun + PAUSE).await,
                () = sleep(rest) => {}
            }
        }
    }

    fn note(&self, keys: Keys) {
        let mut changed = false;
        self.seen.send_modify(|seen| {
            seen.ended = seen.begun;
            // Once for each set, and for the first one if it is empty, too: the same one is read again and again.
            changed = seen.at.is_none() || *seen.keys != keys;
            (seen.at, seen.away) = (Some(Instant::now()), None);
            if changed {
                announce(&keys);
                seen.keys = Arc::new(keys);
                seen.generation += 1;
            }
        });
        if changed {
            self.changed.send_replace(());
        }
    }
}

/// Says in the log what becomes of a set of keys that was not there before.
fn announce(keys: &Keys) {
    tracing::info!(keys = keys.len(), "the issuer has other keys");
    let unusable = keys.unusable();
    if !unusable.is_empty() {
        let named = unusable[..unusable.len().min(MOST_NAMED)].join("; ");
        tracing::warn!(
            keys = unusable.len(),
            named,
            "keys of the issuer verify nothing here and are left out"
        );
    }
    if keys.len() == 0 {
        tracing::warn!("nobody is let in: the issuer publishes no key that verifies tokens here");
    }
}
