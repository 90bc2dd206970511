//! Whether the database does what the process needs of it: what the writer commits, a reader sees.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{database::Database, failure::Failure, probe::Probe};

/// However often it is probed, hardly more than once a second is something written for it.
const ONCE: Duration = Duration::from_secs(1);
/// A disk that stands still for a moment makes nobody unready. Who probes does not wait for it: readiness probes in the background.
const ANSWER: Duration = Duration::from_millis(1_800);

/// A row of the leases, which every service has, that nobody holds.
const COUNT: &str = "INSERT INTO leases (name, holder, token, expire_time) VALUES ('writer', '', 1, 0)
    ON CONFLICT (name) DO UPDATE SET token = leases.token + 1 RETURNING token";
const COUNTED: &str = "SELECT token FROM leases WHERE name = 'writer'";

impl Database {
    /// Whether the writer commits, and a reader sees what it has committed: what readiness means; and whether connections of each kind can be
    /// had. Answers within 1.8 s; the schema has to have [`crate::lease::TABLE`].
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), Failure> {
        let mut outcome = self.probe();
        let answer = async {
            let result = outcome.wait_for(Option::is_some).await;
            result.map_or(Err(Failure::Panicked), |result| result.clone().unwrap_or(Err(Failure::Panicked)))
        };
        let late =
            || Failure::Unavailable(Arc::new(DbErr::Custom("the writer makes no progress".to_owned())));
        timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(late()))
    }

    /// The check that is under way or was begun just now; otherwise another one.
    fn probe(&self) -> watch::Receiver<Option<Result<(), Failure>>> {
        // Nothing panics in between.
        let mut probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Probe { at, outcome }) = &*probe
            && (at.elapsed() < ONCE || outcome.borrow().is_none() && outcome.has_changed().is_ok())
        {
            return outcome.clone();
        }
        let (sender, outcome) = watch::channel(None);
        let database = self.clone();
        tokio::spawn(async move { sender.send_replace(Some(database.check().await)) });
        *probe = Some(Probe { at: Instant::now(), outcome: outcome.clone() });
        outcome
    }

    async fn check(&self) -> Result<(), Failure> {
        // The writer and the reader below may have theirs, while whoever writes otherwise gets none.
        for (_, connections) in self.kinds() {
            connections.can_be_had().await?;
        }
        let token = |row: Option<sea_orm::QueryResult>| {
            row.ok_or_else(|| DbErr::RecordNotFound("the writer's row".to_owned()))?
                .try_get_by_index::<i64>(0)
        };
        // A transaction by itself: a process that hangs between two round trips would hold the row, which all processes share.
        let counted = self.execute(move |executor| {
            let count = Statement::from_string(executor.get_database_backend(), COUNT);
            Box::pin(async move { token(executor.query_one_raw(count).await?) })
        });
        let counted = counted.await?;
        let seen = self.read().query_one_raw(Statement::from_string(self.backend(), COUNTED)).await?;
        if token(seen)? >= counted {
            return Ok(());
        }
        let lost = "a reader does not see what the writer has committed";
        Err(Failure::Unavailable(Arc::new(DbErr::Custom(lost.to_owned()))))
    }
}
