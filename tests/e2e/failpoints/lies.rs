//! Lies in a journal that is otherwise honest: the judge believes none of them.

use std::slice::from_mut;

use anyhow::{Context as _, Result, ensure};
use world::PATIENCE;

use super::site::{MESH, Site};
use crate::journal::{Answer, Call, Journal, Way, What};

const CALLS: usize = 12;

/// What changes an honest journal, and the judge's words for it.
type Lie = (fn(&mut Journal), &'static str);

#[tokio::test]
async fn no_lie_is_believed() -> Result<()> {
    let mut site = Site::embedded().await?;
    site.start(MESH, "").await?;
    let way = Way::Grpc(site.calls()?);
    let mut honest = Journal::of("alice".to_owned());
    while honest.calls.len() < CALLS {
        let (user, call) = honest.open();
        let given = call.attempt(user, &way).await?;
        call.write_down(given);
    }
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
        let found = judge.believes(from_mut(&mut liar)).await.err();
        let found = found.with_context(|| format!("believed: {finding}"))?;
        ensure!(format!("{found:#}").contains(finding), "{finding}: {found:#}");
    }
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
    journal.calls.push(Call { key: "never".to_owned(), what: What::TopUp, answer });
}
