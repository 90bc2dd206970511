//! What readiness shows of a service on a database and a broker: the same for every service.

use chassis::readiness::{Part, State};
use messaging::{
    health::{Condition, Health},
    outbox,
};
use storage::Database;

/// The parts of `service`. Its callers are served by its database: what is behind the outbox is shown, and makes nothing unready.
#[must_use]
pub fn parts(service: &'static str, database: &Database, health: &Health) -> Vec<Part> {
    let (asked, waiting, health) = (database.clone(), database.clone(), health.clone());
    vec![
        Part::new(format!("{service}.database"), move || {
            let database = asked.clone();
            async move { database.ping().await.map_err(|failure| failure.to_string()) }
        }),
        Part::new(format!("{service}.outbox"), move || {
            let database = waiting.clone();
            async move { outbox::readiness(&database).await.map_or_else(State::Degraded, |()| State::Ok) }
        })
        .behind(),
        Part::group(service, move || health.parts().into_iter().map(state).collect()).behind(),
    ]
}

fn state((name, condition): (String, Condition)) -> (String, State) {
    let state = match condition {
        Condition::Ok => State::Ok,
        Condition::Degraded { reason, .. } => State::Degraded(reason),
        Condition::Failed { reason, .. } => State::Failed(reason),
    };
    (name, state)
}
