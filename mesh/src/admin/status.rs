//! `ordermesh admin status`: what waits at each service.

#[cfg(test)]
mod tests;

use anyhow::bail;
use chassis::clock::Micros;
use ordermesh::messaging::v1::{MessagingStatus, PartState, part_state::Condition};
use serde_json::{Map, Value, json};

use super::{
    jobs,
    look::{self, Asked, Said},
    pauses, processes, show,
};
use crate::services::Services;

/// What lasts longer does not pass by itself: a broker that comes back, and a row that is locked for a moment, take less.
const LATE: Micros = 10_000_000;
/// What is to be done stands behind the words of a broker.
const WHY: usize = 400;

/// Shows what waits at each service, and whether nobody has to look. One that is away is shown as that, beside the others; so is what a service
/// has not said.
///
/// # Errors
/// When a service cannot be asked, or has not answered a question, once all were shown.
pub(super) async fn status(services: &Services, as_json: bool) -> anyhow::Result<bool> {
    let asked = look::look(services).await;
    if as_json {
        show::json(&json(&asked)?)?;
    } else {
        show::lines(&lines(&asked))?;
    }
    whether_fine(&asked)
}

/// Whether nobody has to look.
///
/// # Errors
/// When a service has not said all of it.
pub(super) fn whether_fine(asked: &[Asked]) -> anyhow::Result<bool> {
    let away = asked.iter().filter(|(_, status)| status.is_err());
    let away: Vec<&str> = away.map(|(service, _)| service.name()).collect();
    if !away.is_empty() {
        bail!("{} cannot be asked", away.join(" and "));
    }
    let said = asked.iter().filter_map(|(service, said)| Some((*service, said.as_ref().ok()?)));
    let (mut fine, mut unsaid) = (true, Vec::new());
    for (service, said) in said {
        fine &= is_fine(said);
        unsaid.extend(said.unanswered().map(|(question, _)| format!("{} of {}", question, service.name())));
    }
    if !unsaid.is_empty() {
        bail!("{} cannot be asked for", unsaid.join(", "));
    }
    Ok(fine)
}

/// What waits for a person, or for somebody who subscribes, is not; nor what does not do its work, and what was stored otherwise.
fn is_fine(said: &Said) -> bool {
    if said.differences.as_ref().is_ok_and(|differences| *differences > 0) {
        return false;
    }
    let Ok(status) = &said.status else { return true };
    let waits = [status.parked, status.held, status.outbox_unroutable, status.dead_letters];
    let relay = status.relay.iter().filter_map(|relay| relay.state.as_ref());
    let consumers = status.consumers.iter().filter_map(|consumer| consumer.state.as_ref());
    waits.iter().all(|count| *count == 0) && relay.chain(consumers).all(works) && !is_stuck(status)
}

/// What has failed does not. What is degraded may be so for a moment; what is paused is so by somebody's will.
fn works(state: &PartState) -> bool {
    match state.condition() {
        Condition::Failed => false,
        Condition::Degraded => show::age(state.since.as_ref()).is_none_or(|age| age < LATE),
        Condition::Unspecified | Condition::Ok | Condition::Paused => true,
    }
}

/// Whether messages do not leave the outbox, though nobody has paused that.
fn is_stuck(status: &MessagingStatus) -> bool {
    let is_late = show::age(status.outbox_oldest_time.as_ref()).is_some_and(|age| age >= LATE);
    is_late && relay_condition(status) != Condition::Paused
}

fn relay_condition(status: &MessagingStatus) -> Condition {
    let state = status.relay.as_ref().and_then(|relay| relay.state.as_ref());
    state.map(PartState::condition).unwrap_or_default()
}

/// As JSON: of each service its status, with the members `pauses`, `redrives` and `differences` beside those of the contract, and `errors` by what
/// it has not said.
///
/// # Errors
/// When an answer is of no contract that is known.
pub(super) fn json(asked: &[Asked]) -> anyhow::Result<Value> {
    let all: anyhow::Result<Map<String, Value>> =
        asked.iter().map(|(service, said)| Ok((service.name().to_owned(), json_of(said)?))).collect();
    Ok(all?.into())
}

fn json_of(said: &anyhow::Result<Said>) -> anyhow::Result<Value> {
    let said = match said {
        Ok(said) => said,
        Err(error) => return Ok(json!({ "error": show::error(error) })),
    };
    let mut object = said.status.as_ref().map_or_else(|_unsaid| Ok(json!({})), show::json_of)?;
    if let Ok(pauses) = &said.pauses {
        object["pauses"] = show::all_json("pauses", pauses)?["pauses"].take();
    }
    if let Ok(redrives) = &said.redrives {
        object["redrives"] = show::all_json("redrives", redrives)?["redrives"].take();
    }
    if let Ok(differences) = said.differences {
        object["differences"] = differences.into();
    }
    for (question, error) in said.unanswered() {
        object["errors"][question] = show::error(error).into();
    }
    Ok(object)
}

/// The same for a person.
pub(super) fn lines(asked: &[Asked]) -> Vec<String> {
    let rows: Vec<_> = asked.iter().map(row).collect();
    let heads = [
        "service",
        "in outbox",
        "oldest",
        "unroutable",
        "parked",
        "held",
        "waiting",
        "sent back",
        "dead letters",
    ];
    let mut lines = show::table(heads, &rows);
    lines.extend(parts(asked));
    lines.extend(processes::table(asked));
    lines.extend(besides(asked));
    for (service, said) in asked {
        let why = |error: &anyhow::Error| show::short(&show::error(error), 300);
        match said {
            Err(error) => lines.push(format!("{}: {}", service.name(), why(error))),
            Ok(said) => lines.extend(
                said.unanswered()
                    .map(|(question, error)| format!("{}: {question}: {}", service.name(), why(error))),
            ),
        }
    }
    lines
}

/// What is paused, which redrives run, and how many orders differ.
fn besides(asked: &[Asked]) -> Vec<String> {
    let (mut lines, mut paused, mut running) = (Vec::new(), Vec::new(), Vec::new());
    for (service, said) in asked {
        let Ok(Said { pauses, redrives, differences, .. }) = said else { continue };
        paused.extend(pauses.iter().flatten().map(|pause| (*service, pause.clone())));
        running.extend(redrives.iter().flatten().map(|redrive| (*service, redrive.clone())));
        if let Ok(differences @ 1..) = differences {
            let what = "orders differ between orders and payments: ordermesh admin reconciliation lists them";
            lines.extend([String::new(), format!("{differences} {what}")]);
        }
    }
    for (what, table) in [("paused", pauses::table(&paused)), ("redrives", jobs::table(&running))] {
        // The first line has the heads.
        if table.len() > 1 {
            lines.extend([String::new(), what.to_owned()].into_iter().chain(table));
        }
    }
    lines
}

/// What each part does, as the process sees it that has answered.
fn parts(asked: &[Asked]) -> Vec<String> {
    let said = asked.iter().filter_map(look::status);
    let rows: Vec<_> = said
        .flat_map(|(service, status)| {
            let relay = status.relay.iter().map(|relay| {
                let held = format!("lease of {}", show::or_dash(&relay.lease_holder));
                part(service, status, "relay", relay.state.as_ref(), relay.per_second, held)
            });
            let consumers = status.consumers.iter().map(|consumer| {
                let name = format!("consumer.{}", consumer.partition);
                let queue = if consumer.queue.is_empty() {
                    "no queue".to_owned()
                } else {
                    format!("{} ready, {} consumers", consumer.queue_messages, consumer.queue_consumers)
                };
                part(service, status, &name, consumer.state.as_ref(), consumer.per_second, queue)
            });
            [outbox(service, status)].into_iter().chain(relay).chain(consumers).collect::<Vec<_>>()
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let table = show::table(["service", "version", "part", "state", "a second", "of", "why"], &rows);
    [String::new()].into_iter().chain(table).collect()
}

/// Whether messages leave: a relay may be well, and each message be refused.
fn outbox(service: &str, status: &MessagingStatus) -> [String; 7] {
    let late = is_stuck(status);
    let oldest = show::ago(status.outbox_oldest_time.as_ref());
    let why = format!("the oldest has waited for {oldest}; ordermesh admin explain says why an order waits");
    [
        service.to_owned(),
        show::or_dash(&status.version),
        "outbox".to_owned(),
        if late { "degraded" } else { "ok" }.to_owned(),
        "-".to_owned(),
        format!("{} pending, {} unroutable", status.outbox_pending, status.outbox_unroutable),
        if late { why } else { "-".to_owned() },
    ]
}

fn part(
    service: &str,
    status: &MessagingStatus,
    name: &str,
    state: Option<&PartState>,
    per_second: f64,
    of: String,
) -> [String; 7] {
    let condition = state.map(PartState::condition).unwrap_or_default();
    [
        service.to_owned(),
        show::or_dash(&status.version),
        name.to_owned(),
        condition.as_str_name().to_lowercase(),
        format!("{per_second:.1}"),
        of,
        show::or_dash(&show::short(state.map_or("", |state| state.reason.as_str()), WHY)),
    ]
}

fn row(asked: &Asked) -> [String; 9] {
    let name = asked.0.name().to_owned();
    let Some((_, status)) = look::status(asked) else {
        let mut row = std::array::from_fn(|_| "?".to_owned());
        row[0] = name;
        return row;
    };
    [
        name,
        status.outbox_pending.to_string(),
        show::ago(status.outbox_oldest_time.as_ref()),
        status.outbox_unroutable.to_string(),
        status.parked.to_string(),
        status.held.to_string(),
        status.waiting.to_string(),
        status.redriven.to_string(),
        status.dead_letters.to_string(),
    ]
}
