//! Who waits behind whom: what is parked is ahead of the later messages of its key.

use std::collections::{BTreeSet, HashSet};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};
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
    if !keys.iter().all(|key| key.is_ascii()) && !stores_every_letter(connection).await? {
        // It can be given no other keys: all are read then.
        let sql = format!("SELECT DISTINCT {} WHERE consumer = $1 AND {}", columns(park), blocking(park));
        let all = Statement::from_sql_and_values(connection.get_database_backend(), sql, [consumer.into()]);
        ahead.found(&connection.query_all_raw(all).await?)?;
        return Ok(ahead);
    }
    let forms = keys.iter().flat_map(|key| [Form::Readable, Form::Ascii].map(|form| form.attribute(key)));
    let forms: BTreeSet<String> = forms.collect();
    let keys: Vec<[Value; 1]> = forms.into_iter().map(|key| [key.into()]).collect();
    for run in rows::statements(&keys, |[key]| rows::value_bytes(key)) {
        let backend = connection.get_database_backend();
        let table = rows::table(backend, "given", &["text"], run)?;
        let sql = format!(
            "SELECT DISTINCT {} WHERE {} AND consumer = {} AND {}",
            columns(park),
            table.has("partition_key"),
            if backend == DbBackend::Postgres { "$2" } else { "?" },
            blocking(park),
        );
        let values = table.values.into_iter().chain([consumer.into()]);
        let some = Statement::from_sql_and_values(backend, sql, values);
        ahead.found(&connection.query_all_raw(some).await?)?;
    }
    Ok(ahead)
}

/// Whether the database can be given any text: with another encoding than UTF-8 PostgreSQL refuses most letters.
async fn stores_every_letter(connection: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let backend = connection.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(true);
    }
    let encoding = Statement::from_string(backend, "SELECT current_setting('server_encoding')");
    let encoding = connection.query_one_raw(encoding).await?;
    let encoding: Option<String> = encoding.map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(encoding.as_deref() == Some("UTF8"))
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

/// What others wait behind. What could not be decoded comes back to nobody, so that nothing waits behind it. (The state alone is said again for the sake of the index.)
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::parked::tables::{Parked, open, park};

    fn message(key: &str) -> Envelope {
        Envelope {
            id: Uuid::nil(),
            kind: "tests.v1.Fact".to_owned(),
            key: key.to_owned(),
            source: String::new(),
            payload: Bytes::new(),
            traceparent: None,
            tracestate: None,
            subject: None,
            token_id: None,
            create_time: 0,
        }
    }

    /// Only what is parked of the keys of these messages is read, whatever letters they have and in whichever form they are stored.
    #[tokio::test]
    async fn no_other_keys_are_read() {
        let (database, _scratch) = open().await;
        for key in ["käthe", r"k\u00e4the", "bob", "carol"] {
            park(&database, Parked { key, state: State::Parked, kind: "tests.v1.Fact" }).await;
        }
        let messages = [message("käthe"), message("dora")];
        let given: Vec<&Envelope> = messages.iter().collect();
        let ahead = ahead(database.read(), "reader", Park::Key, &given).await.expect("rows");
        assert_eq!(ahead.lines.len(), 2, "{ahead:?}");
        assert!(ahead.is_of(&messages[0]) && !ahead.is_of(&messages[1]), "{ahead:?}");
        database.close().await;
    }
}
