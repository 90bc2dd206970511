//! `ordermesh status` on a terminal: what waits and what is stopped, drawn anew every second as long as somebody looks.

use std::{
    io::{self, IsTerminal as _, Write as _, stdout},
    time::Duration,
};

use anyhow::Context as _;
use chassis::{
    clock::{Clock as _, SystemClock, timestamp},
    signals::Signals,
};
use futures_util::future::join_all;
use ordermesh::{
    messaging::v1::{
        GetMessagingStatusRequest, ListPausesRequest, ListRedrivesRequest, MessagingStatus, Pause, Redrive,
        messaging_admin_service_client::MessagingAdminServiceClient,
        pauses_service_client::PausesServiceClient, redrive::State,
    },
    orders::v1::{GetReconciliationRequest, orders_admin_service_client::OrdersAdminServiceClient},
};
use tokio::time::{sleep, timeout};

use super::{
    Service, jobs, pauses, show,
    status::{self, Asked},
};
use crate::services::Services;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How long a service may take to answer: a view that stands still says nothing.
const PATIENCE: Duration = Duration::from_secs(3);
/// Of the redrives of a service, so many of the newest are looked through for those that run.
const REDRIVES: i32 = 50;

/// What a service has said.
struct Said {
    status: MessagingStatus,
    pauses: Vec<Pause>,
    redrives: Vec<Redrive>,
    /// Orders that orders and payments have stored otherwise.
    differences: i64,
}

/// What was seen at one moment.
#[derive(Default)]
struct Seen {
    asked: Vec<Asked>,
    /// What else a person wants to know.
    lines: Vec<String>,
}

/// Shows what there is until somebody ends it, and whether nobody has to look by then.
///
/// # Errors
/// When a service cannot be asked by then, or nobody reads what is shown.
pub(super) async fn watch(services: &Services, as_json: bool) -> anyhow::Result<bool> {
    let (mut signals, mut seen) = (Signals::install()?, Seen::default());
    let screen = (!as_json && stdout().is_terminal()).then(Screen::open).transpose();
    let screen = screen.context("cannot write to the terminal")?;
    loop {
        tokio::select! {
            looked = look(services) => seen = looked,
            () = signals.next() => break,
        }
        match &screen {
            _ if as_json => status::show_json(&seen.asked)?,
            Some(Screen) => Screen::draw(&seen.text()).context("cannot write to the terminal")?,
            None => show::lines(&seen.text())?,
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = signals.next() => break,
        }
    }
    drop(screen);
    status::whether_fine(&seen.asked)
}

async fn look(services: &Services) -> Seen {
    let all = join_all(Service::ALL.map(|service| async move {
        let said = timeout(PATIENCE, ask(services, service)).await;
        (service, said.unwrap_or_else(|_elapsed| anyhow::bail!("it has not answered within {PATIENCE:?}")))
    }));
    let (mut seen, mut paused, mut running) = (Seen::default(), Vec::new(), Vec::new());
    for (service, said) in all.await {
        let status = said.map(|Said { status, pauses, redrives, differences }| {
            paused.extend(pauses.into_iter().map(|pause| (service, pause)));
            running.extend(redrives.into_iter().map(|redrive| (service, redrive)));
            if differences > 0 {
                seen.lines.push(format!("{differences} orders differ between orders and payments"));
            }
            status
        });
        seen.asked.push((service, status));
    }
    for (what, table) in [("paused", pauses::table(&paused)), ("redrives", jobs::table(&running))] {
        // The first line has the heads.
        if table.len() > 1 {
            seen.lines.extend([String::new(), what.to_owned()].into_iter().chain(table));
        }
    }
    seen
}

async fn ask(services: &Services, service: Service) -> anyhow::Result<Said> {
    let caller = service.of(services).await?;
    let mut admin = MessagingAdminServiceClient::new(caller.clone());
    let status = admin.get_messaging_status(GetMessagingStatusRequest {}).await?.into_inner();
    let newest = ListRedrivesRequest { page_size: REDRIVES, ..ListRedrivesRequest::default() };
    let mut redrives = admin.list_redrives(newest).await?.into_inner().redrives;
    redrives.retain(|redrive| redrive.state() == State::Running);
    let mut paused = PausesServiceClient::new(caller.clone());
    let pauses = paused.list_pauses(ListPausesRequest {}).await?.into_inner().pauses;
    let differences = match service {
        Service::Orders => {
            let one = GetReconciliationRequest { page_size: 1, ..GetReconciliationRequest::default() };
            OrdersAdminServiceClient::new(caller).get_reconciliation(one).await?.into_inner().total
        }
        Service::Payments => 0,
    };
    Ok(Said { status, pauses, redrives, differences })
}

impl Seen {
    fn text(&self) -> Vec<String> {
        let now = show::moment(Some(&timestamp(SystemClock.now())));
        let mut text = vec![format!("{now}, anew every second; Ctrl-C ends it"), String::new()];
        text.extend(status::lines(&self.asked));
        text.extend(self.lines.iter().cloned());
        text
    }
}

/// The second screen of a terminal; with its end the first one is there again as it was.
struct Screen;

impl Screen {
    fn open() -> io::Result<Self> {
        // Without a cursor, and without a second line for what is too long.
        write(b"\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        Ok(Self)
    }

    /// Over what is there, line by line: nothing flickers.
    fn draw(lines: &[String]) -> io::Result<()> {
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
        write(format!("\x1b[H{}\x1b[J", lines.concat()).as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Whoever has gone with their terminal needs none.
        let _gone = write(b"\x1b[?7h\x1b[?25h\x1b[?1049l");
    }
}

fn write(text: &[u8]) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text)?;
    out.flush()
}
