//! `ordermesh` on a terminal: the view of `status` goes on, whatever goes away, and gives the terminal back as it was; a redrive shows how far
//! it is.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read as _,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    pty::{OpenptyResult, openpty},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sea_orm::{ConnectionTrait as _, Database, TransactionTrait as _};
use serde_json::{Value, json};
use world::{PATIENCE, Program, eventually};

use crate::{
    admin_cli::{POISON, run, says},
    mesh::{ADMIN_TOKEN, Arrangement, EMBEDDED, Mesh},
};

/// What gives a terminal back as it was.
const RESTORED: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A command on a terminal of its own.
struct Terminal {
    child: Child,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn run(mut command: Command) -> Result<Self> {
        let OpenptyResult { master, slave } = openpty(None, None)?;
        let (ours, written) = (File::from(master), Arc::new(Mutex::new(Vec::new())));
        let out = File::from(slave);
        let child = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()?;
        drop(command);
        let read = Arc::clone(&written);
        // It ends with an error once nobody has the other end any more.
        thread::spawn(move || {
            let (mut ours, mut buffer) = (ours, [0; 4_096]);
            while let Ok(count @ 1..) = ours.read(&mut buffer) {
                read.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
            }
        });
        Ok(Self { child, written })
    }

    fn written(&self) -> String {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).into_owned()
    }

    /// Waits until what is on the screen has all of these texts.
    async fn shows(&self, texts: &[&str]) -> Result<()> {
        eventually(&format!("{texts:?} on the screen"), PATIENCE, async || {
            let written = self.written();
            // The last screen may be half drawn.
            let screens: Vec<&str> = written.split("\x1b[H").collect();
            let screen = screens.iter().rev().find(|screen| screen.contains("\x1b[J")).unwrap_or(&"");
            ensure!(texts.iter().all(|text| screen.contains(text)), "{screen}");
            Ok(())
        })
        .await
    }

    /// Waits until it has ended by itself, and returns its exit status.
    async fn ended(&mut self) -> Result<Option<i32>> {
        eventually("the end of the command", PATIENCE, async || {
            let ended = self.child.try_wait()?;
            ensure!(ended.is_some(), "{}", self.written());
            Ok(ended.and_then(|status| status.code()))
        })
        .await
    }

    /// Ends it as Ctrl-C does, and returns its exit status.
    async fn interrupt(mut self) -> Result<Option<i32>> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGINT)?;
        eventually("the end of the command", PATIENCE, async || {
            let ended = self.child.try_wait()?;
            ensure!(ended.is_some() && self.written().contains(RESTORED), "{ended:?}: {}", self.written());
            Ok(ended.and_then(|status| status.code()))
        })
        .await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A command of the operator's, by its words.
fn command(mesh: &Mesh, line: &str) -> Result<Command> {
    let mut command = Command::new(Program::named("ordermesh")?.binary());
    command
        .args(line.split(' '))
        .env("ORDERS_URL", format!("http://{}", mesh.orders))
        .env("PAYMENTS_URL", format!("http://{}", mesh.payments))
        .env("ADMIN_TOKEN", ADMIN_TOKEN);
    Ok(command)
}

#[tokio::test]
async fn a_person_sees_what_happens_until_they_have_seen_enough() -> Result<()> {
    let mut mesh = Mesh::start(EMBEDDED).await?;
    let live = Terminal::run(command(&mesh, "status")?)?;
    live.shows(&["anew every second", "dead letters", "orders", "payments"]).await?;
    ensure!(live.written().starts_with("\x1b[?1049h"), "it has no screen of its own");
    let short = Terminal::run(command(&mesh, "status")?)?;
    short.shows(&["dead letters"]).await?;
    ensure!(short.interrupt().await? == Some(0), "nobody has to look");

    let pause = json!({ "part": "RELAY", "reason": "a bad release", "operator": "olga" });
    let operator = mesh.admin("payments")?.with_token(ADMIN_TOKEN);
    ensure!(operator.post("/admin/v1/payments/pauses", &pause).await?.status == 200);
    live.shows(&["paused", "relay", "olga", "a bad release"]).await?;
    mesh.processes[0].kill9().await?;
    live.shows(&["orders: ", "payments: cannot reach"]).await?;
    ensure!(live.interrupt().await? == Some(1), "what cannot be asked is no success");
    Ok(())
}

#[tokio::test]
async fn a_person_sees_how_far_a_redrive_is() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.tamper("payments", POISON).await?;
    mesh.account("poison", 100).await?;
    for _ in 0..20 {
        mesh.order("poison", 1).await?;
    }
    eventually("parked messages", PATIENCE, async || {
        let parked = mesh.count("payments", "SELECT COUNT(*) FROM parked").await?;
        ensure!(parked == 20, "{parked} are parked");
        Ok(())
    })
    .await?;
    mesh.tamper("payments", "DROP TRIGGER hinder").await?;
    let line =
        "admin parked redrive --service payments --operator olga --reason cured --per-second 5 --timeout 2s";
    let mut redrive = Terminal::run(command(&mesh, line)?)?;
    eventually("the bar", PATIENCE, async || {
        let written = redrive.written();
        ensure!(written.contains("/20 tried"), "{written}");
        Ok(())
    })
    .await?;
    // A process that does not answer, or is started again, ends neither the redrive nor who follows it.
    let process = Pid::from_raw(i32::try_from(mesh.processes[0].pid())?);
    kill(process, Signal::SIGSTOP)?;
    let is_asked = eventually("that it is asked for again", PATIENCE, async || {
        let written = redrive.written();
        ensure!(written.contains("redrive 1 goes on, and is asked for again"), "{written}");
        Ok(())
    });
    let is_asked = is_asked.await;
    kill(process, Signal::SIGCONT)?;
    is_asked?;
    ensure!(redrive.ended().await? == Some(0), "{}", redrive.written());
    eventually("what came of it", PATIENCE, async || {
        let written = redrive.written();
        ensure!(written.contains("redrive 1 of 20 messages of payments, finished: 20 done"), "{written}");
        Ok(())
    })
    .await?;
    let written = redrive.written();
    let bars = written.split("/20 tried").filter_map(|before| before.rsplit(' ').next());
    let shown: BTreeSet<u32> = bars.filter_map(|tried| tried.parse().ok()).collect();
    ensure!(shown.len() > 2, "the bar does not move: {shown:?} in {written:?}");
    ensure!(mesh.balance("poison").await? == 80, "not each was paid once");
    mesh.at_rest().await
}

/// Somebody holds the table that one of the questions is about.
#[tokio::test]
async fn a_question_that_waits_hides_no_other() -> Result<()> {
    let mesh = Mesh::start(Arrangement { postgres: true, ..EMBEDDED }).await?;
    mesh.at_rest().await?;
    says(&mesh, "status --once", 0, &["lease of"]).await?;
    let elsewhere = Database::connect(mesh.database_url("orders")).await?;
    let lock = elsewhere.begin().await?;
    lock.execute_unprepared("LOCK TABLE reconciliation_differences IN ACCESS EXCLUSIVE MODE").await?;

    let (output, code) = run(&mesh, "status --once --json").await?;
    let status: Value = serde_json::from_str(output.lines().next().context("a line")?)?;
    let orders = &status["orders"];
    ensure!(code == 1 && orders["relay"].is_object() && orders["pauses"] == json!([]), "{code}: {output}");
    let errors = orders["errors"].as_object().context("what orders has not said")?;
    let said = errors["differences"].as_str().context("why")?;
    ensure!(errors.len() == 1 && said.contains("has not answered within 3s"), "{errors:?}");
    ensure!(status["payments"]["relay"].is_object() && status["payments"]["errors"].is_null(), "{output}");
    let texts = ["lease of", "orders: differences: ", "differences of orders cannot be asked for"];
    says(&mesh, "status --once", 1, &texts).await?;

    lock.rollback().await?;
    says(&mesh, "status --once", 0, &["lease of"]).await
}
