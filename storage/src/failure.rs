//! Failure: what a database error means for who meets it.

use std::sync::Arc;

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, SqlxError, SqlxPostgresError, sqlx::postgres::PgSeverity};

/// Why a transaction did not commit, or a query did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The database cannot be used at present. Nothing took effect.
    #[error("the database is not available")]
    Unavailable(#[source] Arc<DbErr>),
    /// No space is left where the database stores. Nothing took effect.
    #[error("the database has no space left")]
    Full(#[source] Arc<DbErr>),
    /// The database went away while it committed, and may have done so: the outcome is not known.
    #[error("the database did not say whether it has committed")]
    Unknown(#[source] Arc<DbErr>),
    /// Others held or changed the same rows, also after retries.
    #[error("the database is contended")]
    Contention(#[source] Arc<DbErr>),
    /// The statement itself is refused: a violated constraint or an error of ours.
    #[error("the database refused a statement")]
    Refused(#[source] Arc<DbErr>),
    /// The code inside the transaction panicked; it was rolled back, unless it was a statement that is a transaction by itself.
    #[error("the transaction panicked")]
    Panicked,
}

impl Failure {
    /// Whether it passes by itself, so that the same may be tried again by who can meet its own earlier effect.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::Unknown(_) | Self::Contention(_))
    }

    /// Whether somebody held a lock for longer than it is waited for. Only PostgreSQL distinguishes that.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let Self::Contention(cause) = self else { return false };
        let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) =
            &**cause
        else {
            return false;
        };
        let code = cause.as_database_error().and_then(|refusal| refusal.code());
        // lock_not_available
        code.as_deref() == Some("55P03")
    }

    /// What the failure of a COMMIT means, or of a statement that is a transaction by itself: unless the database says that it has
    /// rolled back, it may have committed.
    pub(crate) fn of_commit(error: DbErr) -> Self {
        let in_doubt = may_have_committed(&error);
        match Self::from(error) {
            Self::Unavailable(cause) | Self::Full(cause) | Self::Contention(cause) | Self::Refused(cause)
                if in_doubt =>
            {
                Self::Unknown(cause)
            }
            failure => failure,
        }
    }
}

/// The error of a statement whose transaction was not to be committed yet: nothing took effect, also where the same error of a statement
/// that is a transaction by itself would leave that in doubt.
pub(crate) fn before_commit(error: DbErr) -> DbErr {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))
            if leaves_in_doubt(&cause) =>
        {
            DbErr::Conn(RuntimeErr::SqlxError(cause))
        }
        other => other,
    }
}

/// Whether a commit that failed so may have been made all the same: the database has not said that it was rolled back.
fn may_have_committed(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return false;
    };
    leaves_in_doubt(cause)
}

fn leaves_in_doubt(cause: &SqlxError) -> bool {
    match cause {
        SqlxError::Database(refusal) => match refusal.try_downcast_ref::<SqlxPostgresError>() {
            // An error aborts the transaction, whereas FATAL and PANIC end the session at any point of it, after the commit too.
            // 40003 says by itself that it is not known.
            Some(refusal) => refusal.severity() != PgSeverity::Error || refusal.code() == "40003",
            // SQLITE_NOMEM, INTERRUPT, IOERR, CORRUPT, CANTOPEN, PROTOCOL, NOTADB: the frame that makes a commit may be on the disk, and be
            // found after a crash. It is the last one, so that with SQLITE_FULL it was not written; others come before a commit.
            None => refusal
                .code()
                .and_then(|code| primary(&code))
                .is_none_or(|code| matches!(code, 7 | 9 | 10 | 11 | 14 | 15 | 26)),
        },
        SqlxError::Io(_) | SqlxError::Tls(_) | SqlxError::Protocol(_) | SqlxError::WorkerCrashed => true,
        _ => false,
    }
}

/// Whether PostgreSQL has ended the session with this error, as it does with all sessions when it stops.
pub(crate) fn ends_the_session(error: &SqlxError) -> bool {
    let refusal =
        error.as_database_error().and_then(|refusal| refusal.try_downcast_ref::<SqlxPostgresError>());
    refusal.is_some_and(|refusal| refusal.severity() != PgSeverity::Error)
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

/// What [`kind`] says of statements and connects; only a COMMIT has an unknown outcome.
pub(crate) const KINDS: [&str; 4] = ["unavailable", "full", "contention", "refused"];

/// What an error is counted as.
pub(crate) fn kind(error: &SqlxError) -> &'static str {
    match judge(error)(Arc::new(DbErr::Custom(String::new()))) {
        Failure::Unavailable(_) => "unavailable",
        Failure::Full(_) => "full",
        Failure::Unknown(_) => "unknown",
        Failure::Contention(_) => "contention",
        Failure::Refused(_) | Failure::Panicked => "refused",
    }
}

/// PostgreSQL has five characters (its appendix A), SQLite a number whose low byte is the primary result code.
fn by_code(code: &str) -> fn(Arc<DbErr>) -> Failure {
    if code.len() == 5 {
        return match &code[..2] {
            _ if code == "53100" => Failure::Full,
            "40" => Failure::Contention,
            _ if code == "55P03" => Failure::Contention,
            // Connections, resources, operator intervention, system errors; a server that is read-only for now; and a right that the role has
            // lost, which no other request or message would have.
            "08" | "53" | "57" | "58" => Failure::Unavailable,
            _ if matches!(code, "25006" | "25P03" | "42501") => Failure::Unavailable,
            _ => Failure::Refused,
        };
    }
    match primary(code) {
        // SQLITE_BUSY, SQLITE_LOCKED
        Some(5 | 6) => Failure::Contention,
        // SQLITE_NOMEM, SQLITE_INTERRUPT, SQLITE_IOERR, SQLITE_CANTOPEN
        Some(7 | 9 | 10 | 14) => Failure::Unavailable,
        // SQLITE_FULL
        Some(13) => Failure::Full,
        _ => Failure::Refused,
    }
}

/// SQLite's primary result code.
pub(crate) fn primary(code: &str) -> Option<u32> {
    code.parse::<u32>().ok().map(|number| number & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_commit_that_was_sent_is_in_doubt() {
        let lost = || DbErr::Query(RuntimeErr::SqlxError(SqlxError::WorkerCrashed.into()));
        assert!(matches!(Failure::of_commit(lost()), Failure::Unknown(_)));
        assert!(matches!(Failure::of_commit(before_commit(lost())), Failure::Unavailable(_)));
    }

    #[test]
    fn codes_are_judged_by_what_can_be_done() {
        let error = || Arc::new(DbErr::Custom(String::new()));
        let word = |code| match by_code(code)(error()) {
            Failure::Unavailable(_) => "unavailable",
            Failure::Contention(_) => "contention",
            Failure::Full(_) => "full",
            _ => "refused",
        };
        for (code, expected) in [
            ("40001", "contention"),
            ("40P01", "contention"),
            ("55P03", "contention"),
            ("57P01", "unavailable"),
            ("53300", "unavailable"),
            ("08006", "unavailable"),
            ("42501", "unavailable"),
            ("23505", "refused"),
            ("42P01", "refused"),
            ("5", "contention"),
            ("517", "contention"),
            ("13", "full"),
            ("53100", "full"),
            ("10", "unavailable"),
            ("2067", "refused"),
        ] {
            assert_eq!(word(code), expected, "{code}");
        }
    }
}
