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

use crate::{background, metrics::at_scrape, settings::ConfigErrors};

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
                used.0.store(Arc::new(made));
                (self.used, self.broken) = (found, None);
                self.count("taken");
                tracing::info!(
                    purpose = self.purpose,
                    "certificates have changed, and new connections have the new ones"
                );
            }
            // One file may be written before the other: only what stays as it is for an interval is wrong.
            Err(errors) => match &mut self.broken {
                Some((before, reported)) if *before == found => {
                    if !std::mem::replace(reported, true) {
                        self.count("refused");
                        let error = errors.to_string();
                        tracing::error!(
                            purpose = self.purpose,
                            error,
                            "changed certificates cannot be used, and those before stay in use"
                        );
                    }
                }
                broken => *broken = Some((found, false)),
            },
        }
    }

    fn count(&self, outcome: &'static str) {
        counter!(RELOADS, "purpose" => self.purpose, "outcome" => outcome).increment(1);
    }
}
