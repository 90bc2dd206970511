//! Kinds of messages as a person reads and writes them: `OrderPlaced` for the version that this binary knows, and the full name of any other.

use std::collections::BTreeSet;

use anyhow::bail;
use ordermesh::topology::CONSUMERS;

use super::show;

/// The last word of a kind.
fn last(kind: &str) -> &str {
    kind.rsplit('.').next().unwrap_or_default()
}

fn known() -> BTreeSet<&'static str> {
    CONSUMERS.iter().flat_map(|consumer| consumer.kinds).copied().collect()
}

/// As tables show it: what is shown can be asked for.
pub(super) fn shown(kind: &str) -> String {
    show::or_dash(if known().contains(kind) { last(kind) } else { kind })
}

/// The full name of what was asked for: a full name, or the last word of a kind that is known.
///
/// # Errors
/// When a word is that of no kind, with those that there are.
pub(super) fn named(text: &str) -> anyhow::Result<String> {
    // Of other versions there are more kinds than this binary knows; `(unreadable)` stands for none.
    if text.is_empty() || text.contains('.') || text.starts_with('(') {
        return Ok(text.to_owned());
    }
    let known = known();
    match known.iter().filter(|kind| last(kind) == text).collect::<Vec<_>>()[..] {
        [kind] => Ok((*kind).to_owned()),
        _ => {
            let all: Vec<&str> = known.iter().copied().collect();
            bail!("--kind {text}: no kind of message has this name. There are {}", all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_asked_for() -> anyhow::Result<()> {
        for kind in known().into_iter().chain(["ordermesh.orders.v9.OrderPlaced", "(unreadable)"]) {
            assert_eq!(named(&shown(kind))?, kind);
        }
        assert_eq!(shown("ordermesh.orders.v1.OrderPlaced"), "OrderPlaced");
        assert_eq!(shown("ordermesh.orders.v9.OrderPlaced"), "ordermesh.orders.v9.OrderPlaced");
        let refused = named("Orderplaced").unwrap_or_else(|error| error.to_string());
        assert!(refused.contains("ordermesh.orders.v1.OrderPlaced"), "{refused}");
        Ok(())
    }
}
