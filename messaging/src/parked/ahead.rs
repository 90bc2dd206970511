//! Who waits behind whom: what is parked is ahead of the later messages of its key.

use std::collections::{BTreeSet, HashSet};

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, Value};
use storage::rows;

use super::{Form, Park, State};
use crate::envelope::Envelope;

/// The keys of which messages are parked that others have to wait behind; with [`Park::Message`] those of messages whose kind was paused, and
/// only for others of that kind.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    park: Park,
    /// Each with the kind, if that matters, as they are stored.
    lines: HashSet<(String, Option<String>)>,
}

impl Ahead {
    /// Nothing is parked.
    pub(crate) fn none(park: Park) -> Self {
        Self { park, lines: HashSet::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether a message has to wait.
    pub(crate) fn is_of(&self, message: &Envelope) -> bool {
        // Which of the two the database has taken depends on its encoding.
        !self.lines.is_empty()
            && [Form::Readable, Form::Ascii]
                .iter()
                .any(|form| self.lines.contains(&self.line(message, *form)))
    }

    /// From now on a message is parked, and ahead of later ones.
    pub(crate) fn add(&mut self, message: &Envelope) {
        self.lines.insert(self.line(message, Form::Readable));
    }

    fn line(&self, message: &Envelope, form: Form) -> (String, Option<String>) {
        let kind = (self.park == Park::Message).then(|| form.attribute(&message.kind));
        (form.attribute(&message.key), kind)
    }
}

/// What is ahead of one of these messages.
pub(crate) async fn ahead(
    connection: &impl ConnectionTrait,
    consumer: &str,
    park: Park,
    messages: &[&Envelope],
) -> Result<Ahead, DbErr> {
    let mut ahead = Ahead::none(park);
    let keys: BTreeSet<&str> = messages.iter().map(|message| message.key.as_str()).collect();
    // A database in another encoding can be given no other key: all are read then.
    if !keys.iter().all(|key| key.is_ascii()) {
        let sql = format!("SELECT DISTINCT {} WHERE consumer = $1 AND {}", columns(park), blocking(park));
        let all = Statement::from_sql_and_values(connection.get_database_backend(), sql, [consumer.into()]);
        ahead.found(&connection.query_all_raw(all).await?)?;
        return Ok(ahead);
    }
    let keys: Vec<[Value; 1]> = keys.into_iter().map(|key| [Form::Readable.attribute(key).into()]).collect();
    for run in rows::statements(&keys, |[key]| rows::value_bytes(key)) {
        let backend = connection.get_database_backend();
        let table = rows::table(backend, "given", &["text"], run)?;
        let sql = format!(
            "SELECT DISTINCT {} WHERE {} AND consumer = {} AND {}",
            columns(park),
            table.has("partition_key"),
            if backend == sea_orm::DbBackend::Postgres { "$2" } else { "?" },
            blocking(park),
        );
        let values = table.values.into_iter().chain([consumer.into()]);
        let some = Statement::from_sql_and_values(backend, sql, values);
        ahead.found(&connection.query_all_raw(some).await?)?;
    }
    Ok(ahead)
}

/// Whether anything of a consumer is parked that others have to wait behind.
pub(crate) async fn any_ahead(
    connection: &impl ConnectionTrait,
    consumer: &str,
    park: Park,
) -> Result<bool, DbErr> {
    let sql = format!("SELECT 1 FROM parked WHERE consumer = $1 AND {} LIMIT 1", blocking(park));
    let any = Statement::from_sql_and_values(connection.get_database_backend(), sql, [consumer.into()]);
    Ok(connection.query_one_raw(any).await?.is_some())
}

/// What others wait behind. What could not be decoded has no key. (The state alone is said again for the sake of the index.)
fn blocking(park: Park) -> String {
    match park {
        Park::Message => format!("state > 0 AND state = {}", State::Waiting as i16),
        Park::Key => "message_id IS NOT NULL".to_owned(),
    }
}

const fn columns(park: Park) -> &'static str {
    match park {
        Park::Message => "partition_key, kind FROM parked",
        Park::Key => "partition_key FROM parked",
    }
}

impl Ahead {
    fn found(&mut self, rows: &[QueryResult]) -> Result<(), DbErr> {
        for row in rows {
            let kind = (self.park == Park::Message).then(|| row.try_get_by_index(1)).transpose()?;
            self.lines.insert((row.try_get_by_index(0)?, kind));
        }
        Ok(())
    }
}
