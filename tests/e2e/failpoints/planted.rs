//! Bugs that are planted: the judge of the matrix finds each of them, where it found nothing without.

use std::{collections::BTreeSet, slice::from_mut, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use ordermesh::payments::v1::{Account, CreateAccountRequest, GetAccountRequest, TopUpAccountRequest};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database};
use tonic::{Code, Request};

use super::{
    crash, journals,
    lies::honest,
    named_in_code,
    site::{MESH, ORDERS, PAYMENTS, Site},
};
use crate::journal::Judge;

/// How long a message that was lost is waited for. What is only late would not say that nothing waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// A bug with the crash that shows it.
struct Planted {
    bug: &'static str,
    /// As `FAILPOINTS` has it.
    crash: &'static str,
    by: &'static str,
    /// What the judge says.
    finding: &'static str,
}

const LOST: &str = "0 messages wait, and some orders are NEW";

/// What the process ends at comes again, without the bug: some messages have to pass before.
const EMBEDDED: [Planted; 6] = [
    // The acknowledgement has its effect while the first statement sleeps.
    Planted {
        bug: "ack_before_commit",
        crash: "statement.before=sleep(300);consumer.before_commit=return",
        by: MESH,
        finding: LOST,
    },
    Planted { bug: "settle_before_confirm", crash: "relay.before_publish=return", by: MESH, finding: LOST },
    Planted { bug: "confirms_not_awaited", crash: "relay.settled=return", by: MESH, finding: LOST },
    Planted {
        bug: "inbox_skipped",
        crash: "consumer.before_ack=6*off->return",
        by: MESH,
        finding: "requests are remembered",
    },
    Planted { bug: "no_decision", crash: "consumer.before_ack=6*off->return", by: MESH, finding: "I4" },
    // The order ends by a decision that is lost, and what is decided after the restart has another entry in the ledger.
    Planted {
        bug: "publish_before_commit",
        crash: "consumer.before_commit=return",
        by: MESH,
        finding: "for Order",
    },
];

const ON_SERVERS: [Planted; 3] = [
    Planted {
        bug: "ack_before_commit",
        crash: "statement.before=sleep(300);consumer.before_commit=return",
        by: PAYMENTS,
        finding: LOST,
    },
    Planted { bug: "settle_before_confirm", crash: "relay.before_publish=return", by: ORDERS, finding: LOST },
    Planted {
        bug: "publish_before_commit",
        crash: "consumer.before_commit=return",
        by: PAYMENTS,
        finding: "for Order",
    },
];

/// Those that tests of their own find: storage/tests/database/planted.rs and commits.rs.
const ELSEWHERE: [&str; 2] = ["writer_reused", "commit_interrupted"];
/// What the process says of itself, and ends by.
const LOUD: [&str; 1] = ["writer_dies"];
/// What no crash shows, but a caller who stops waiting.
const LATE: &str = "deadline_ignored";
/// How long that caller waits.
const DEADLINE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn each_bug_is_found_in_one_process_on_sqlite() -> Result<()> {
    let mut site = Site::embedded().await?;
    for planted in &EMBEDDED {
        is_found(&mut site, planted).await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_bug_is_found_on_postgres_and_rabbitmq() -> Result<()> {
    for planted in &ON_SERVERS {
        // What one bug has left in the queues is not for the databases of the next.
        is_found(&mut Site::on_servers().await?, planted).await?;
    }
    Ok(())
}

/// Otherwise every write would be refused from then on, by a process that says that it is ready.
#[tokio::test]
async fn a_process_ends_with_its_writer() -> Result<()> {
    let mut site = Site::embedded().await?;
    site.start(MESH, "writer_dies=return").await?;
    let account = || CreateAccountRequest {
        account: Some(Account { user_id: "writer".into(), ..Account::default() }),
        ..CreateAccountRequest::default()
    };
    let refused = site.calls()?.payments.create_account(account()).await;
    // It may have been written by then.
    let refused = refused.err().context("nobody writes")?;
    ensure!(refused.code() == Code::Unknown, "{refused:?}");
    let (status, output) = site.ended(MESH).await?;
    let died = output.contains("task accounts writer died") && output.contains("it panicked");
    ensure!(status.code() == Some(1) && died, "{status}\n{output}");
    site.start(MESH, "").await?;
    site.calls()?.payments.create_account(account()).await?;
    Ok(())
}

/// A call whose time is over before anything of it is done takes no effect: nobody has written it down.
#[tokio::test]
async fn a_deadline_that_is_ignored_is_found() -> Result<()> {
    let bug = format!("{LATE}=return");
    for (failpoints, finding) in [("", None), (bug.as_str(), Some("top-ups of"))] {
        let (site, mut journal) = honest(failpoints).await?;
        let judge = site.judge(4 * PATIENCE)?;
        top_up_too_late(&judge, &journal.user).await?;
        // Repeating its calls, it comes behind the one that was late.
        let judged = judge.believes(from_mut(&mut journal)).await;
        match (judged, finding) {
            (judged, None) => judged.context("without the bug")?,
            (Ok(()), Some(_)) => bail!("{LATE} is not found"),
            (Err(found), Some(finding)) => ensure!(format!("{found:#}").contains(finding), "{found:#}"),
        }
    }
    Ok(())
}

/// Somebody else has the lock of the database until the caller has gone, and its service knows that.
async fn top_up_too_late(judge: &Judge, user: &str) -> Result<()> {
    let mut options = ConnectOptions::new(&judge.databases[PAYMENTS]);
    options.max_connections(1);
    let other = Database::connect(options).await?;
    other.execute_unprepared("BEGIN IMMEDIATE").await?;
    let mut payments = judge.calls.payments.clone();
    let request = TopUpAccountRequest { user_id: user.to_owned(), amount: 1, ..Default::default() };
    let mut request = Request::new(request);
    request.set_timeout(DEADLINE);
    let refused = payments.top_up_account(request).await.err().context("it was answered")?;
    ensure!(matches!(refused.code(), Code::DeadlineExceeded | Code::Cancelled), "{refused:?}");
    // Behind it on the same connection.
    payments.get_account(GetAccountRequest { user_id: user.to_owned() }).await?;
    other.execute_unprepared("ROLLBACK").await?;
    Ok(other.close().await?)
}

async fn is_found(site: &mut Site, planted: &Planted) -> Result<()> {
    let Planted { bug, crash: at, by, finding } = *planted;
    site.renew().await?;
    site.start_all_but(by).await?;
    let mut journals = journals(bug);
    crash(site, by, &format!("{bug}=return;{at}"), &mut journals).await.context(bug)?;
    site.start(by, "").await?;
    let judged = site.judge(PATIENCE)?.believes(&mut journals).await;
    let found = judged.err().with_context(|| format!("{bug} is not found"))?;
    ensure!(format!("{found:#}").contains(finding), "{bug}: {found:#}");
    Ok(())
}

#[test]
fn every_bug_of_the_code_is_found_by_a_test() -> Result<()> {
    let in_code = named_in_code("failpoint::planted(\"")?;
    let here = EMBEDDED.iter().chain(&ON_SERVERS).map(|planted| planted.bug);
    let in_tests: BTreeSet<String> =
        here.chain(ELSEWHERE).chain(LOUD).chain([LATE]).map(str::to_owned).collect();
    ensure!(in_code == in_tests, "in the code: {in_code:?}\nin tests: {in_tests:?}");
    Ok(())
}
