//! Lies in a journal that is otherwise honest, and changes of the books behind one that is: the judge believes none of them.

use std::{slice::from_mut, time::Duration};

use anyhow::{Context as _, Result, ensure};
use world::PATIENCE;

use super::site::{MESH, Site};
use crate::{
    alone::run,
    journal::{Answer, Call, Journal, Judge, Way, What},
};

const CALLS: usize = 12;
/// How long what never leaves is waited for.
const LEAVES: Duration = Duration::from_secs(5);

/// What is changed in the database of which service, and what the judge says. The changes stay: each is found by an earlier check than those
/// before it, or together with them.
const CHANGES: [(&str, &str, &str); 7] = [
    (
        "payments",
        "DROP TRIGGER ledger_entries_append_only_update;
        UPDATE ledger_entries SET balance_after = balance_after + 1 WHERE entry_type = 2",
        "ordermesh check: [\"I2\"",
    ),
    (
        "payments",
        "INSERT INTO parked (consumer, kind, source, partition_key, payload, error, attempts, park_time)
            VALUES ('payments', 'a kind', 'a source', 'a key', X'', 'an error', 1, 0)",
        "payments has parked 1 messages",
    ),
    (
        "payments",
        "DELETE FROM inbox WHERE message_id = (SELECT MIN(order_id) FROM payments)",
        "requests are remembered",
    ),
    ("payments", "UPDATE accounts SET balance = balance + 1", "instead of"),
    (
        "payments",
        "INSERT INTO ledger_entries
            (id, user_id, sequence, entry_type, amount, balance_after, counter_account, create_time)
            VALUES (randomblob(16), 'alice', 1000, 1, 1, 1, 'system:cash-in', 0)",
        "top-ups of",
    ),
    (
        "payments",
        "DROP TRIGGER ledger_entries_append_only_delete; PRAGMA foreign_keys = OFF;
        DELETE FROM ledger_entries
            WHERE sequence = (SELECT MIN(sequence) FROM ledger_entries WHERE entry_type = 2)",
        "[] for Order",
    ),
    // It is not due within this hour.
    (
        "orders",
        "INSERT INTO outbox
            (message_id, kind, partition_key, payload, create_time, state, attempts, next_attempt_time)
            VALUES (randomblob(16), 'a kind', 'a key', X'', 0, 0, 1, (unixepoch() + 3600) * 1000000)",
        "1 messages wait",
    ),
];

/// What changes an honest journal, and the judge's words for it.
type Lie = (fn(&mut Journal), &'static str);

#[tokio::test]
async fn no_lie_is_believed() -> Result<()> {
    let (site, mut honest) = honest("").await?;
    let judge = site.judge(PATIENCE)?;
    judge.believes(from_mut(&mut honest)).await?;

    // Whoever is asked about the last one does what was never done, which is no lie from then on.
    let lies: [Lie; 3] = [
        (another_answer, "became"),
        (a_forgotten_order, "orders of"),
        (an_answer_that_nobody_gave, "was acknowledged and is lost"),
    ];
    for (lie, finding) in lies {
        let mut liar = honest.clone();
        lie(&mut liar);
        is_found(&judge, &mut liar, finding).await?;
    }
    Ok(())
}

#[tokio::test]
async fn no_change_of_the_books_is_believed() -> Result<()> {
    let (site, mut honest) = honest("").await?;
    site.judge(PATIENCE)?.believes(from_mut(&mut honest)).await?;

    let judge = site.judge(LEAVES)?;
    for (service, change, finding) in CHANGES {
        run(&judge.databases[service], change).await?;
        is_found(&judge, &mut honest, finding).await?;
    }
    Ok(())
}

/// A mesh in one process with these bugs, and what was called there.
pub(super) async fn honest(failpoints: &str) -> Result<(Site, Journal)> {
    let mut site = Site::embedded().await?;
    site.start(MESH, failpoints).await?;
    let way = Way::Grpc(site.calls()?);
    let mut honest = Journal::of("alice".to_owned());
    while honest.calls.len() < CALLS {
        let (user, call) = honest.open();
        let given = call.attempt(user, &way).await?;
        call.write_down(given);
    }
    Ok((site, honest))
}

/// The judge does not believe a journal, and says so.
async fn is_found(judge: &Judge, journal: &mut Journal, finding: &str) -> Result<()> {
    let found = judge.believes(from_mut(journal)).await.err();
    let found = found.with_context(|| format!("believed: {finding}"))?;
    ensure!(format!("{found:#}").contains(finding), "{finding}: {found:#}");
    Ok(())
}

fn another_answer(journal: &mut Journal) {
    for call in &mut journal.calls {
        if let Some(Answer::Order(order)) = &mut call.answer {
            order.amount += 1;
        }
    }
}

fn a_forgotten_order(journal: &mut Journal) {
    let last = journal.calls.iter().rposition(|call| matches!(call.what, What::Place));
    journal.calls.remove(last.expect("orders were placed"));
}

fn an_answer_that_nobody_gave(journal: &mut Journal) {
    let answer = Some(Answer::ToppedUp(Box::default()));
    journal.calls.push(Call { key: "never".to_owned(), what: What::TopUp { amount: 1 }, answer });
}
