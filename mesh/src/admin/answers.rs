//! What several services answer to one question: one that is away is said, and hides nothing of what the other one has.

use anyhow::bail;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{
    service::{Service, chosen},
    show,
};

/// What each service has answered, or why it has not.
pub(super) struct Answers<T>(Vec<(Service, anyhow::Result<T>)>);

impl<T> Answers<T> {
    /// Asks one service, or all at the same time.
    pub(super) async fn of(
        service: Option<Service>,
        ask: impl AsyncFn(Service) -> anyhow::Result<T>,
    ) -> Self {
        let ask = &ask;
        Self(
            join_all(chosen(service).into_iter().map(|service| async move { (service, ask(service).await) }))
                .await,
        )
    }

    /// Prints what was answered, as one object or as the lines of a table, and returns it.
    ///
    /// # Errors
    /// When a service has not answered, once all was printed; and when nobody reads it.
    pub(super) fn show(
        self,
        as_json: bool,
        json_of: impl Fn(&T) -> anyhow::Result<Value>,
        table: impl FnOnce(&[(Service, T)]) -> Vec<String>,
    ) -> anyhow::Result<Vec<(Service, T)>> {
        let (mut answered, mut away, mut object) = (Vec::new(), Vec::new(), serde_json::Map::new());
        for (service, answer) in self.0 {
            let name = service.name().to_owned();
            match answer {
                Ok(answer) => {
                    object.insert(name, json_of(&answer)?);
                    answered.push((service, answer));
                }
                Err(error) => {
                    object.insert(name, json!({ "error": show::error(&error) }));
                    away.push((service, error));
                }
            }
        }
        match away.pop() {
            // Nothing is hidden by it.
            Some((_, error)) if answered.is_empty() && away.is_empty() && !as_json => return Err(error),
            None => print(as_json, object, table(&answered))?,
            Some(last) => {
                away.push(last);
                let mut lines = if answered.is_empty() { Vec::new() } else { table(&answered) };
                let line = |(service, error): &(Service, anyhow::Error)| {
                    format!("{}: {}", service.name(), show::short(&show::error(error), 300))
                };
                lines.extend(away.iter().map(line));
                print(as_json, object, lines)?;
                let names: Vec<&str> = away.iter().map(|(service, _)| service.name()).collect();
                // What they refuse is a fault of the request: they were asked.
                let is_refused = away.iter().all(|(_, error)| is_refused(error));
                bail!(
                    "{} {}",
                    names.join(" and "),
                    if is_refused { "refused it" } else { "cannot be asked" }
                );
            }
        }
        Ok(answered)
    }
}

fn is_refused(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Status>().is_some_and(|status| {
        matches!(status.code(), Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated)
    })
}

fn print(as_json: bool, object: serde_json::Map<String, Value>, lines: Vec<String>) -> anyhow::Result<()> {
    if as_json { show::json(&object.into()) } else { show::lines(&lines) }
}
