//! What readiness shows of a service on a database and a broker: the same for every service.

use chassis::{
    metrics::at_scrape,
    readiness::{Part, State},
    status::Chain,
};
use messaging::{
    health::{Condition, Health},
    outbox,
};
use metrics::{describe_gauge, gauge};
use storage::{Database, Usage};

/// The parts of `service`. Its callers are served by its database: what is behind the outbox is shown, and makes nothing unready.
#[must_use]
pub fn parts(service: &'static str, database: &Database, health: &Health) -> Vec<Part> {
    connections(service, database);
    let (probed, waiting, relay, health) =
        (database.clone(), database.clone(), health.clone(), health.clone());
    vec![
        Part::new(format!("{service}.database"), move || {
            let database = probed.clone();
            async move { database.ping().await.map_err(|failure| Chain(&failure).to_string()) }
        }),
        Part::new(format!("{service}.outbox"), move || {
            let (database, relay) = (waiting.clone(), relay.clone());
            async move {
                match (outbox::readiness(&database).await, relay.paused_relay()) {
                    (Ok(()), _) => State::Ok,
                    (Err(late), Some(reason)) => State::Paused(format!("{late}; the relay is {reason}")),
                    (Err(late), None) => State::Degraded(late),
                }
            }
        })
        .behind(),
        Part::group(service, move || health.parts().into_iter().map(state).collect()).behind(),
    ]
}

/// Shows how the connections to the database are used, each time that somebody looks.
fn connections(service: &'static str, database: &Database) {
    const OPEN: &str = "db_client_connections";
    const MOST: &str = "db_client_connection_max";
    describe_gauge!(
        OPEN,
        "open connections to the database, by what they are for and whether they are in use"
    );
    describe_gauge!(MOST, "connections to the database at most, by what they are for");
    let usage = database.usage();
    at_scrape(move || {
        let usage = usage();
        for (kind, Usage { used, idle, most }) in &usage {
            for (state, count) in [("used", used), ("idle", idle)] {
                gauge!(
                    OPEN,
                    "service_name" => service,
                    "db_client_connection_pool_name" => *kind,
                    "db_client_connection_state" => state,
                )
                .set(*count as f64);
            }
            gauge!(MOST, "service_name" => service, "db_client_connection_pool_name" => *kind)
                .set(*most as f64);
        }
        !usage.is_empty()
    });
}

fn state((name, condition): (String, Condition)) -> (String, State) {
    let state = match condition {
        Condition::Ok => State::Ok,
        Condition::Degraded { reason, .. } => State::Degraded(reason),
        Condition::Failed { reason, .. } => State::Failed(reason),
        Condition::Paused { reason, .. } => State::Paused(reason),
    };
    (name, state)
}
