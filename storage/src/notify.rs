//! Wake-ups between the processes on one PostgreSQL database (LISTEN and NOTIFY). A SQLite file has one process: there are none. Nor are there
//! where a session keeps nothing: the process of the server that listens would be somebody else's.
//!
//! A wake-up can be missed while a connection is away: whoever listens needs a slow poll as well.

use std::{fmt, sync::Arc};

use sea_orm::{
    ConnectionTrait as _, DbBackend, DbErr, Statement,
    sqlx::{self, Executor as _, postgres::PgListener},
};
use tokio::time::{Duration, Instant, timeout_at};

use crate::{
    connection::{PATIENCE, within},
    database::Database,
    failure::Failure,
};

/// A connection that has brought nothing for so long is probed, and has as long to answer.
const SILENT: Duration = Duration::from_secs(5);

impl Database {
    /// Wakes whoever listens on `channel` now, in a statement of its own: inside the transaction that it is about, it would take a lock that lets one transaction of the whole server commit at a time.
    ///
    /// # Errors
    /// As the database says.
    pub async fn notify(&self, channel: &str) -> Result<(), Failure> {
        if self.backend() == DbBackend::Postgres {
            let notify = Statement::from_sql_and_values(
                DbBackend::Postgres,
                "SELECT pg_notify($1, '')",
                [channel.into()],
            );
            self.read().execute_raw(notify).await?;
        }
        Ok(())
    }

    /// Listens on `channel`, with a connection of its own.
    ///
    /// # Errors
    /// When the database is not available.
    pub async fn listen(&self, channel: &str) -> Result<Listener, Failure> {
        let Some(sessions) = self.sessions() else { return Ok(Listener(None)) };
        let (one, options) = sessions.pool();
        let one = one.acquire_timeout(PATIENCE);
        let listening = async {
            let mut listener = PgListener::connect_with(&one.connect_lazy_with(options)).await?;
            // Who listens connects again himself, and is not kept waiting for it.
            listener.eager_reconnect(false);
            listener.listen(channel).await?;
            Ok(listener)
        };
        let listener = within(Instant::now() + self.timeout(), listening).await.map_err(away)?;
        Ok(Listener(Some(Box::new(Listening { listener, well: Instant::now() }))))
    }
}

/// Somebody who listens.
pub struct Listener(Option<Box<Listening>>);

struct Listening {
    listener: PgListener,
    /// When the connection was last known to be well.
    well: Instant,
}

impl Listener {
    /// Waits for the next wake-up. Where there are none: for ever.
    ///
    /// # Errors
    /// When the connection is lost, and wake-ups with it; or when it is silent.
    pub async fn notified(&mut self) -> Result<(), Failure> {
        let Some(Listening { listener, well }) = self.0.as_deref_mut() else {
            return std::future::pending().await;
        };
        loop {
            let next = *well + SILENT;
            // Nothing without an error is a connection that was lost: wake-ups may have been missed, which counts as one.
            if let Ok(received) = timeout_at(next, listener.try_recv()).await {
                return received.map(drop).map_err(away);
            }
            within(next + SILENT, listener.execute("SELECT 1")).await.map_err(away)?;
            *well = Instant::now();
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

fn away(error: sqlx::Error) -> Failure {
    Failure::Unavailable(Arc::new(DbErr::Custom(error.to_string())))
}
