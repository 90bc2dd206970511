//! Failure: what a database error means for who meets it.

use std::sync::Arc;

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, SqlxError};

/// Why a transaction did not commit, or a query did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The database cannot be used at present. A transaction that met it while committing may have taken effect.
    #[error("the database is not available")]
    Unavailable(#[source] Arc<DbErr>),
    /// Others held or changed the same rows, also after retries.
    #[error("the database is contended")]
    Contention(#[source] Arc<DbErr>),
    /// The statement itself is refused: a violated constraint or a mistake of ours.
    #[error("the database refused a statement")]
    Refused(#[source] Arc<DbErr>),
    /// The code inside the transaction panicked; it was rolled back.
    #[error("the transaction panicked")]
    Panicked,
}

impl From<DbErr> for Failure {
    fn from(error: DbErr) -> Self {
        let make = match &error {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed)
            | DbErr::Conn(_) => Self::Unavailable,
            DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) => {
                judge(cause)
            }
            // What a conditional write says when somebody else was first.
            DbErr::RecordNotInserted | DbErr::RecordNotUpdated => Self::Contention,
            _ => Self::Refused,
        };
        make(Arc::new(error))
    }
}

fn judge(cause: &SqlxError) -> fn(Arc<DbErr>) -> Failure {
    match cause {
        SqlxError::Database(refusal) => by_code(refusal.code().as_deref().unwrap_or_default()),
        SqlxError::Io(_)
        | SqlxError::Tls(_)
        | SqlxError::Protocol(_)
        | SqlxError::PoolTimedOut
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed => Failure::Unavailable,
        _ => Failure::Refused,
    }
}

/// PostgreSQL has five characters (its appendix A), SQLite a number whose low byte is the primary result code.
fn by_code(code: &str) -> fn(Arc<DbErr>) -> Failure {
    if code.len() == 5 {
        return match &code[..2] {
            "40" => Failure::Contention,
            _ if code == "55P03" => Failure::Contention,
            // Connections, resources, operator intervention, system errors; and a server that is read-only for now.
            "08" | "53" | "57" | "58" => Failure::Unavailable,
            _ if code == "25006" || code == "25P03" => Failure::Unavailable,
            _ => Failure::Refused,
        };
    }
    match code.parse::<u32>().map(|number| number & 0xff) {
        // SQLITE_BUSY, SQLITE_LOCKED
        Ok(5 | 6) => Failure::Contention,
        // SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN
        Ok(10 | 13 | 14) => Failure::Unavailable,
        _ => Failure::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_judged_by_what_can_be_done() {
        let error = || Arc::new(DbErr::Custom(String::new()));
        let word = |code| match by_code(code)(error()) {
            Failure::Unavailable(_) => "unavailable",
            Failure::Contention(_) => "contention",
            _ => "refused",
        };
        for (code, expected) in [
            ("40001", "contention"),
            ("40P01", "contention"),
            ("55P03", "contention"),
            ("57P01", "unavailable"),
            ("53300", "unavailable"),
            ("08006", "unavailable"),
            ("23505", "refused"),
            ("42P01", "refused"),
            ("5", "contention"),
            ("517", "contention"),
            ("13", "unavailable"),
            ("2067", "refused"),
        ] {
            assert_eq!(word(code), expected, "{code}");
        }
    }
}
