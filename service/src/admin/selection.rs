//! What a request says about the messages that it means, and about who acts, with every error of it at once.

use messaging::parked::{Filter, Operator, State};
use ordermesh::messaging::v1::{ParkedMessageFilter, parked_message};
use prost_types::Timestamp;
use tonic::Request;

use crate::request::{Checks, non_empty, origin};

/// The longest name of an operator, in characters.
const OPERATOR_MAX: usize = 64;
/// The longest reason, in characters.
const REASON_MAX: usize = 1_024;
/// The longest text of a condition, in characters: what is stored is not longer, and a statement has to stay small.
const TEXT_MAX: usize = 1_024;
/// Numbers that one call may name: what one statement binds stays below 14 KiB.
const SEQUENCES_MAX: usize = 1_000;

/// The messages that a filter of a request means. `at` is its path with a dot behind it.
pub(super) fn filter(given: Option<ParkedMessageFilter>, at: &str, checks: &mut Checks) -> Filter {
    let given = given.unwrap_or_default();
    let few = given.sequences.len() <= SEQUENCES_MAX;
    checks.field(&format!("{at}sequences"), few.then_some(()).ok_or("must be at most 1,000"));
    let texts = [
        ("kind", &given.kind),
        ("error", &given.error),
        ("partition_key", &given.partition_key),
        ("consumer", &given.consumer),
        ("cause", &given.cause),
    ];
    for (name, text) in texts {
        checks.field(&format!("{at}{name}"), condition(text));
    }
    let mut time = |name: &str, time: Option<Timestamp>| {
        let micros = time.map(micros).transpose();
        checks.field(&format!("{at}{name}"), micros.map(drop));
        micros.ok().flatten()
    };
    let (parked_from, parked_before) =
        (time("start_time", given.start_time), time("end_time", given.end_time));
    let state = match given.state {
        0 => Ok(None),
        number => parked_message::State::try_from(number).map(Some).map_err(|_| "is no state"),
    };
    checks.field(&format!("{at}state"), state.map(drop));
    Filter {
        seqs: given.sequences,
        consumer: non_empty(given.consumer),
        kind: non_empty(given.kind),
        key: non_empty(given.partition_key),
        error: non_empty(given.error),
        cause: non_empty(given.cause),
        state: state.ok().flatten().and_then(stored),
        parked_from,
        parked_before,
        first: None,
    }
}

/// A filter that also has the kind and the error of a request that names them beside it, as all did before there were filters.
pub(super) fn narrowed(filter: Filter, kind: &str, error: &str, checks: &mut Checks) -> Filter {
    let twice = |by_itself: &str, by_filter: &Option<String>| {
        let is_twice = !by_itself.is_empty() && by_filter.is_some();
        (!is_twice).then_some(()).ok_or("must not be given beside that of the filter")
    };
    checks
        .field("kind", condition(kind))
        .field("kind", twice(kind, &filter.kind))
        .field("error", condition(error))
        .field("error", twice(error, &filter.error));
    let kind = filter.kind.or_else(|| non_empty(kind.to_owned()));
    let error = filter.error.or_else(|| non_empty(error.to_owned()));
    Filter { kind, error, ..filter }
}

/// The same for the numbers of a request.
pub(super) fn numbered(filter: Filter, sequences: &[i64], checks: &mut Checks) -> Filter {
    let few = sequences.len() <= SEQUENCES_MAX;
    let twice = !sequences.is_empty() && !filter.seqs.is_empty();
    checks
        .field("sequences", few.then_some(()).ok_or("must be at most 1,000"))
        .field("sequences", (!twice).then_some(()).ok_or("must not be given beside those of the filter"));
    if sequences.is_empty() { filter } else { Filter { seqs: sequences.to_vec(), ..filter } }
}

/// The state of a message as it is stored.
fn stored(state: parked_message::State) -> Option<State> {
    match state {
        parked_message::State::Unspecified => None,
        parked_message::State::Parked => Some(State::Parked),
        parked_message::State::Held => Some(State::Held),
        parked_message::State::Redriven => Some(State::Redriven),
        parked_message::State::Waiting => Some(State::Waiting),
    }
}

/// How many messages at most; `None` for all.
pub(super) fn first(most: i64, checks: &mut Checks) -> Option<u64> {
    checks.field("max_messages", if most < 0 { Err("must not be negative") } else { Ok(()) });
    u64::try_from(most).ok().filter(|most| *most > 0)
}

/// Whether a reason has to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Required,
    Optional,
}

/// Who acts by a request, and why.
pub(super) fn operator<T>(
    request: &Request<T>,
    name: &str,
    reason: &str,
    needs: Reason,
    checks: &mut Checks,
) -> Operator {
    let named = (1..=OPERATOR_MAX).contains(&name.chars().count());
    let most = reason.chars().count() <= REASON_MAX;
    let given = !reason.is_empty() || needs == Reason::Optional;
    checks
        .field("operator", named.then_some(()).ok_or("must be 1 to 64 characters"))
        .field("operator", storable(name))
        .field("reason", most.then_some(()).ok_or("must be at most 1,024 characters"))
        .field("reason", given.then_some(()).ok_or("must be given"))
        .field("reason", storable(reason));
    Operator { name: name.to_owned(), reason: non_empty(reason.to_owned()), origin: origin(request) }
}

fn condition(text: &str) -> Result<(), &'static str> {
    if text.chars().count() > TEXT_MAX { Err("must be at most 1,024 characters") } else { storable(text) }
}

/// PostgreSQL's text holds no U+0000: nothing that is stored has it.
pub(super) fn storable(text: &str) -> Result<(), &'static str> {
    if text.contains('\0') { Err("must not contain U+0000") } else { Ok(()) }
}

fn micros(time: Timestamp) -> Result<i64, &'static str> {
    let whole = time.seconds.checked_mul(1_000_000);
    let micros = whole.and_then(|micros| micros.checked_add(i64::from(time.nanos) / 1_000));
    micros.ok_or("is no time")
}
