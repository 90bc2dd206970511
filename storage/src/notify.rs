//! A bell between the processes on one PostgreSQL database (LISTEN and NOTIFY). A SQLite file has one process: nothing rings.
//!
//! A call can be missed while a connection is away: whoever listens needs a slow poll as well.

use std::{fmt, sync::Arc};

use sea_orm::{
    ConnectionTrait as _, DbBackend, DbErr, Statement,
    sqlx::{self, postgres::PgListener},
};

use crate::{database::Database, failure::Failure};

impl Database {
    /// Rings the bell `channel` for whoever listens now, in a statement of its own: inside the transaction that it tells of,
    /// it would take a lock that lets one transaction of the whole server commit at a time.
    ///
    /// # Errors
    /// As the database says.
    pub async fn notify(&self, channel: &str) -> Result<(), Failure> {
        if self.backend() == DbBackend::Postgres {
            let ring = Statement::from_sql_and_values(
                DbBackend::Postgres,
                "SELECT pg_notify($1, '')",
                [channel.into()],
            );
            self.read().execute_raw(ring).await?;
        }
        Ok(())
    }

    /// Listens for the bell `channel`, with one of the pool's connections.
    ///
    /// # Errors
    /// When the database is not available.
    pub async fn listen(&self, channel: &str) -> Result<Listener, Failure> {
        if self.backend() != DbBackend::Postgres {
            return Ok(Listener(None));
        }
        let pool = self.read().get_postgres_connection_pool();
        let mut listener = PgListener::connect_with(pool).await.map_err(away)?;
        listener.listen(channel).await.map_err(away)?;
        Ok(Listener(Some(listener)))
    }
}

/// Somebody who listens.
pub struct Listener(Option<PgListener>);

impl Listener {
    /// Waits for the next call. SQLite: for ever.
    ///
    /// # Errors
    /// When the connection is lost, and calls with it.
    pub async fn heard(&mut self) -> Result<(), Failure> {
        let Some(listener) = &mut self.0 else { return std::future::pending().await };
        // Nothing without an error is a connection that was lost and is back: calls may have been missed, which counts as one.
        listener.try_recv().await.map(drop).map_err(away)
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
