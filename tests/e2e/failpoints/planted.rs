//! Bugs that are planted: the judge of the matrix finds each of them, where it found nothing without.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ordermesh::payments::v1::{Account, CreateAccountRequest};
use tonic::Code;

use super::{
    crash, journals, named_in_code,
    site::{MESH, ORDERS, PAYMENTS, Site},
};

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
const EMBEDDED: [Planted; 5] = [
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
];

const ON_SERVERS: [Planted; 2] = [
    Planted {
        bug: "ack_before_commit",
        crash: "statement.before=sleep(300);consumer.before_commit=return",
        by: PAYMENTS,
        finding: LOST,
    },
    Planted { bug: "settle_before_confirm", crash: "relay.before_publish=return", by: ORDERS, finding: LOST },
];

/// Those that tests of their own find: storage/tests/database/planted.rs.
const ELSEWHERE: [&str; 1] = ["writer_reused"];
/// What the process says of itself, and ends by.
const LOUD: [&str; 1] = ["writer_dies"];

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
    let in_tests: BTreeSet<String> = here.chain(ELSEWHERE).chain(LOUD).map(str::to_owned).collect();
    ensure!(in_code == in_tests, "in the code: {in_code:?}\nin tests: {in_tests:?}");
    Ok(())
}
