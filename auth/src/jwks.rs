//! The keys of the issuer: read at the start, again from time to time, and when a token names one that is not known.
//!
//! One task reads them, whoever needs them. While the issuer is away they stay as they were, up to an age.

use std::{fmt, sync::Arc, time::Duration};

use chassis::{background, readiness::State, status::Chain};
use jsonwebtoken::Algorithm;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::AbortHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    fetch::Source,
    keys::{Key, Keys},
    refusal::{Check, Refusal},
};

/// Between two looks, when nothing asks for one.
const REFRESH: Duration = Duration::from_secs(300);
/// The same, while the issuer is away.
const RETRY: Duration = Duration::from_secs(10);
/// Between two looks at least: tokens with keys that do not exist cost the issuer one request in this time.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a caller waits for a key that is not known: for the pause, and for the issuer.
const PATIENCE: Duration = Duration::from_secs(7);
/// Callers that wait for a look at once; one more is refused.
const WAITING: usize = 256;

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

/// The keys of an issuer. Dropping it ends its task.
pub(crate) struct Jwks {
    seen: watch::Receiver<Seen>,
    wake: Arc<Notify>,
    waiting: Semaphore,
    max_age: Duration,
    task: AbortHandle,
}

impl Drop for Jwks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Jwks {
    /// Reads keys from now on. Must be called inside of a tokio runtime.
    pub(crate) fn watch(source: Source, max_age: Duration) -> Self {
        let (seen, receiver) = watch::channel(Seen::default());
        let wake = Arc::new(Notify::new());
        let looks = Looks { source, seen, wake: Arc::clone(&wake), refresh: REFRESH.min(max_age / 2) };
        let task = background::spawn("the look at the keys of the issuer", looks.run()).abort_handle();
        Self { seen: receiver, wake, waiting: Semaphore::new(WAITING), max_age, task }
    }

    /// The generation of the keys in force; `None` when there are none, as they have not been seen for too long.
    pub(crate) fn generation(&self) -> Option<u64> {
        let seen = self.seen.borrow();
        self.is_good(&seen).then_some(seen.generation)
    }

    /// The key with this id for this algorithm, and its generation. One that is not known is looked for at the issuer.
    ///
    /// # Errors
    /// The issuer has no such key as far as is known, or nothing is known of it, or too many wait to learn of one.
    pub(crate) async fn key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<(Arc<Key>, u64), Refusal> {
        let (found, before) = {
            let seen = self.seen.borrow();
            (self.find(&seen, id, algorithm), seen.begun)
        };
        let found = if found.is_some() { found } else { self.look(id, algorithm, before).await? };
        // While keys are in force one that is not among them is the caller's fault, whether the issuer can be asked or not.
        found.ok_or_else(|| match self.is_good(&self.seen.borrow()) {
            true => Refusal::Token(Check::Key),
            false => Refusal::NoKeys,
        })
    }

    /// The key, once a look at the issuer has ended that began after the one with the number `before`.
    ///
    /// # Errors
    /// Too many wait already: nobody has looked for this key, so it may be a good one.
    async fn look(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        before: u64,
    ) -> Result<Option<(Arc<Key>, u64)>, Refusal> {
        let _permit = self.waiting.try_acquire().map_err(|_full| Refusal::Crowded)?;
        self.wake.notify_one();
        let mut seen = self.seen.clone();
        // A look that has begun before may have missed the key.
        let looked = seen.wait_for(|seen| seen.ended > before || self.find(seen, id, algorithm).is_some());
        let Ok(Ok(seen)) = timeout(PATIENCE, looked).await else { return Ok(None) };
        Ok(self.find(&seen, id, algorithm))
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
            (false, None) => State::Failed("the keys of the issuer have not been read yet".to_owned()),
        }
    }

    fn find(&self, seen: &Seen, id: Option<&str>, algorithm: Algorithm) -> Option<(Arc<Key>, u64)> {
        let key = seen.keys.find(id, algorithm).filter(|_| self.is_good(seen))?;
        Some((Arc::clone(key), seen.generation))
    }

    fn is_good(&self, seen: &Seen) -> bool {
        seen.at.is_some_and(|at| at.elapsed() < self.max_age)
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
    seen: watch::Sender<Seen>,
    wake: Arc<Notify>,
    refresh: Duration,
}

impl Looks {
    async fn run(self) {
        let mut is_away = false;
        loop {
            let begun = Instant::now();
            self.seen.send_modify(|seen| seen.begun += 1);
            let read = self.source.read().await.and_then(|document| Ok(Keys::read(&document)?));
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
            let rest = if is_away { RETRY.min(self.refresh) } else { self.refresh };
            tokio::select! {
                () = self.wake.notified() => sleep_until(begun + PAUSE).await,
                () = sleep(rest) => {}
            }
        }
    }

    fn note(&self, keys: Keys) {
        self.seen.send_modify(|seen| {
            seen.ended = seen.begun;
            (seen.at, seen.away) = (Some(Instant::now()), None);
            if *seen.keys != keys {
                tracing::info!(keys = keys.len(), "the issuer has other keys");
                seen.keys = Arc::new(keys);
                seen.generation += 1;
            }
        });
    }
}
