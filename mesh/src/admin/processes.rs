//! The processes of each service, as `ordermesh admin status` shows them.

use chassis::clock::Micros;
use ordermesh::messaging::v1::ProcessState;

use super::{
    look::{self, Asked},
    show,
};

/// A process that lives says so every 5 s. One that has ended without a word is listed for ten minutes.
const GONE: Micros = 20_000_000;

/// The processes of each service, and when each last said that it runs.
pub(super) fn table(asked: &[Asked]) -> Vec<String> {
    let said = asked.iter().filter_map(look::status);
    let row = |service: &str, process: &ProcessState| {
        [
            service.to_owned(),
            show::or_dash(&process.version),
            show::or_dash(&process.build),
            show::or_dash(&process.process_id),
            show::or_dash(&process.host),
            show::ago(process.start_time.as_ref()),
            seen(process),
        ]
    };
    let rows: Vec<_> = said
        .flat_map(|(service, status)| status.processes.iter().map(move |one| row(service, one)))
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let table = show::table(["service", "version", "build", "process", "host", "started", "seen"], &rows);
    [String::new()].into_iter().chain(table).collect()
}

fn seen(process: &ProcessState) -> String {
    let (seen, age) = (process.seen_time.as_ref(), show::age(process.seen_time.as_ref()));
    let gone = if age.is_some_and(|age| age > GONE) { ", gone" } else { "" };
    format!("{}{gone}", show::ago(seen))
}

#[cfg(test)]
mod tests {
    use chassis::clock::{Clock as _, SystemClock, timestamp};

    use super::*;

    #[test]
    fn what_has_not_said_for_long_that_it_runs_is_marked() {
        let ago = |age| ProcessState {
            seen_time: Some(timestamp(SystemClock.now() - age)),
            ..ProcessState::default()
        };
        assert!(!seen(&ago(GONE / 2)).contains("gone"));
        assert!(seen(&ago(GONE * 2)).contains("gone"));
    }
}
