//! What is reported of pauses.

use crate::pauses::Model;

/// Other pauses than before.
pub(crate) fn pauses(before: &[Model], now: &[Model]) {
    let say = |pause: &Model, what: &str| {
        tracing::warn!(
            pause.number = pause.seq,
            pause.part = ?pause.part,
            pause.consumer = pause.consumer,
            pause.kind = pause.kind,
            pause.partition = pause.partition_number,
            pause.operator = pause.operator,
            pause.reason = pause.reason,
            "{what}"
        );
    };
    now.iter().filter(|pause| !before.contains(pause)).for_each(|pause| say(pause, "an operator has paused"));
    before.iter().filter(|pause| !now.contains(pause)).for_each(|pause| say(pause, "the pause is over"));
}
