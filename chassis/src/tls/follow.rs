//! Files that are looked at again and again, and what was made of them last.

use std::{
    collections::BTreeMap,
    fs,
    panic::resume_unwind,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    background,
    clock::{Clock as _, SystemClock},
    metrics::at_scrape,
    settings::ConfigErrors,
};

/// How often files are looked at. They are read whole, as only their content says whether they have changed: what is replaced may be a
/// folder above them (Kubernetes swaps a link), or within the granularity of a time stamp.
const INTERVAL: Duration = Duration::from_secs(1);

const RELOADS: &str = "tls_reloads_total";
const EXPIRY: &str = "tls_certificate_expiry_timestamp_seconds";

/// A file, by the flag that names it.
pub(super) type File = (&'static str, PathBuf);

/// What files hold, or why they cannot be read, by their flags. A private key may be in it, so it shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents(BTreeMap<&'static str, Result<Vec<u8>, String>>);

impl Contents {
    pub(super) fn read(files: &[File]) -> Self {
        let read = |(flag, path): &File| {
            let content = fs::read(path);
            (*flag, content.map_err(|error| format!("cannot read {}: {error}", path.display())))
        };
        Self(files.iter().map(read).collect())
    }

    /// The same, with what `others` hold of the files of these flags.
    fn with(mut self, others: &Self, flags: &[&'static str]) -> Self {
        for flag in flags {
            if let Some(content) = others.0.get(flag) {
                self.0.insert(*flag, content.clone());
            }
        }
        self
    }

    /// What the file of this flag holds; `None` after an error was noted.
    pub(super) fn of(&self, flag: &str, errors: &mut ConfigErrors) -> Option<&[u8]> {
        match self.0.get(flag)? {
            Ok(content) => Some(content),
            Err(error) => {
                errors.note(flag, error);
                None
            }
        }
    }
}

/// How something is made of files.
pub(super) trait Recipe: Send + Sync + 'static {
    type Made: Send + Sync + 'static;

    fn files(&self) -> Vec<File>;

    /// Makes it, or notes what is wrong with the files.
    fn make(&self, contents: &Contents, errors: &mut ConfigErrors) -> Option<Self::Made>;

    /// When a certificate of it expires, in seconds since the Unix epoch.
    fn expiry(made: &Self::Made) -> Option<i64>;

    /// What keeps everybody, or many, from accepting its certificate at this moment, in seconds since the Unix epoch.
    fn flaw(&self, made: &Self::Made, now: i64) -> Option<Flaw>;
}

/// What is wrong with a certificate that can be read.
#[derive(Debug)]
pub(super) struct Flaw {
    /// Of the certificate and of its key.
    pub(super) flags: [&'static str; 2],
    pub(super) file: PathBuf,
    pub(super) subject: String,
    pub(super) reason: String,
    /// Whether neither time nor another client changes it: then it is never put in use.
    pub(super) is_lasting: bool,
}

impl Flaw {
    fn warn(&self, purpose: &str, outcome: &str) {
        let Self { file, subject, reason, .. } = self;
        tracing::warn!(purpose, file = %file.display(), subject, reason, "a certificate that not all can accept {outcome}");
    }
}

/// What is made of files, as they are now.
#[derive(Debug)]
pub(super) struct Followed<T>(ArcSwap<T>);

impl<T: Send + Sync + 'static> Followed<T> {
    /// Something that never changes.
    pub(super) fn fixed(made: T) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(made)))
    }

    /// Makes it, and again when the files have changed, as long as somebody has it. Must be called inside of a tokio runtime. `None` after
    /// errors were noted. What it is for, such as `public`, is in the log and in metrics.
    pub(super) fn start<R: Recipe<Made = T>>(
        purpose: &'static str,
        recipe: R,
        errors: &mut ConfigErrors,
    ) -> Option<Arc<Self>> {
        let (files, before) = (recipe.files(), errors.count());
        let used = Contents::read(&files);
        let made = recipe.make(&used, errors).filter(|_| errors.count() == before)?;
        let flaw = recipe.flaw(&made, now());
        if let Some(Flaw { flags, file, subject, reason, .. }) = flaw.as_ref().filter(|flaw| flaw.is_lasting)
        {
            let file = file.display();
            errors.note(
                flags[0],
                format!("{file} has a certificate that nobody can accept, of [{subject}]: {reason}"),
            );
            return None;
        }
        let this = Self::fixed(made);
        describe_gauge!(
            EXPIRY,
            "when the certificate that is in use expires, in seconds since the Unix epoch"
        );
        describe_counter!(RELOADS, "changed files of certificates, by whether they are in use now");
        for outcome in ["taken", "refused"] {
            counter!(RELOADS, "purpose" => purpose, "outcome" => outcome).increment(0);
        }
        let shown = Arc::downgrade(&this);
        at_scrape(move || {
            let Some(shown) = shown.upgrade() else { return false };
            if let Some(expiry) = R::expiry(&shown.0.load()) {
                gauge!(EXPIRY, "purpose" => purpose).set(expiry as f64);
            }
            true
        });
        let looking = Looking { purpose, recipe, files, used, broken: None };
        if let Some(flaw) = flaw {
            flaw.warn(purpose, "is in use");
        }
        background::spawn("the look at files of certificates", looking.run(Arc::downgrade(&this)));
        Some(this)
    }

    pub(super) fn current(&self) -> Arc<T> {
        self.0.load_full()
    }
}

/// Looks at files.
struct Looking<R> {
    purpose: &'static str,
    recipe: R,
    files: Vec<File>,
    /// What is in use.
    used: Contents,
    /// What cannot be used, and whether that was reported.
    broken: Option<(Contents, bool)>,
}

impl<R: Recipe> Looking<R> {
    async fn run(mut self, made: Weak<Followed<R::Made>>) {
        loop {
            sleep(INTERVAL).await;
            let files = self.files.clone();
            let found = match spawn_blocking(move || Contents::read(&files)).await {
                Ok(found) => found,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    // The runtime is being shut down.
                    Err(_cancelled) => return,
                },
            };
            let Some(made) = made.upgrade() else { return };
            if found == self.used {
                self.broken = None;
            } else {
                self.take(found, &made);
            }
        }
    }

    fn take(&mut self, found: Contents, used: &Followed<R::Made>) {
        let mut errors = ConfigErrors::default();
        let made = self.recipe.make(&found, &mut errors);
        match errors.or(made) {
            Ok(made) => {
                let flaw = self.flaw(&made);
                // One that is no better than that is not worth keeping.
                match flaw.filter(|flaw| flaw.is_lasting || self.flaw(&used.current()).is_none()) {
                    Some(flaw) => self.refuse(found, &flaw, used),
                    None => self.put(found, made, used),
                }
            }
            Err(errors) => {
                if self.is_to_report(found) {
                    self.count("refused");
                    let error = errors.to_string();
                    tracing::error!(
                        purpose = self.purpose,
                        error,
                        "changed certificates cannot be used, and those before stay in use"
                    );
                }
            }
        }
    }

    fn refuse(&mut self, found: Contents, flaw: &Flaw, used: &Followed<R::Made>) {
        // The authorities beside it are in force all the same: who is to be let in no longer does not wait for another certificate.
        let others = found.clone().with(&self.used, &flaw.flags);
        if others != self.used {
            let mut errors = ConfigErrors::default();
            let made = self.recipe.make(&others, &mut errors);
            if let Ok(made) = errors.or(made) {
                self.put(others, made, used);
            }
        }
        if self.is_to_report(found) {
            self.count("refused");
            flaw.warn(self.purpose, "was not taken, and the one before stays in use");
        }
    }

    fn put(&mut self, found: Contents, made: R::Made, used: &Followed<R::Made>) {
        let flaw = self.flaw(&made);
        used.0.store(Arc::new(made));
        (self.used, self.broken) = (found, None);
        self.count("taken");
        tracing::info!(
            purpose = self.purpose,
            "certificates have changed, and new connections have the new ones"
        );
        if let Some(flaw) = flaw {
            flaw.warn(self.purpose, "is in use, as the one before was no better");
        }
    }

    /// Whether it is time to report what cannot be used, which is done once: one file may be written before the other, so only what stays
    /// as it is for an interval is wrong.
    fn is_to_report(&mut self, found: Contents) -> bool {
        match &mut self.broken {
            Some((before, reported)) if *before == found => !std::mem::replace(reported, true),
            broken => {
                *broken = Some((found, false));
                false
            }
        }
    }

    fn flaw(&self, made: &R::Made) -> Option<Flaw> {
        self.recipe.flaw(made, now())
    }

    fn count(&self, outcome: &'static str) {
        counter!(RELOADS, "purpose" => self.purpose, "outcome" => outcome).increment(1);
    }
}

/// In seconds since the Unix epoch.
fn now() -> i64 {
    SystemClock.now().div_euclid(1_000_000)
}
