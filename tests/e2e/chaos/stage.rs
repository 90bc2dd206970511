//! What the faults happen to: two processes of each service and two gateways on servers of their own, with a proxy on each arrow.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io::{BufWriter, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::{Instant, sleep};
use world::{Api, PATIENCE, Port, Postgres, Process, Program, RabbitMq, eventually};

use super::arrow::Arrow;
use crate::{
    journal::{Grpc, Journal, Judge, Way},
    mesh::ADMIN_TOKEN,
};

/// How long a process may take to serve: it is started again and again while its database is away.
const START: Duration = Duration::from_secs(600);
/// Between two such starts.
const AGAIN: Duration = Duration::from_millis(500);
/// How long orders may take to end once all is well: the longest lease and the longest pause of whoever tries again, and more.
pub(super) const REST: Duration = Duration::from_secs(120);
/// How much of the past is kept of each process, and how many lines of each of its lives.
const LAST: Duration = Duration::from_secs(60);
const LINES: usize = 2_000;

/// The servers, and all ways to everything.
pub(super) struct Servers {
    pub(super) postgres: Postgres,
    pub(super) rabbitmq: RabbitMq,
    pub(super) arrows: Vec<Arrow>,
}

pub(super) struct Stage {
    // Dropped in this order.
    pub(super) members: Vec<Member>,
    pub(super) servers: Servers,
    /// Where the gateways reach each service.
    urls: BTreeMap<&'static str, Vec<String>>,
    /// Whose binaries run at first.
    binaries: PathBuf,
}

impl Stage {
    /// With the binaries of a folder.
    pub(super) async fn start(binaries: &Path) -> Result<Self> {
        let (postgres, rabbitmq) = tokio::try_join!(Postgres::start(), RabbitMq::start())?;
        let servers = Servers { postgres, rabbitmq, arrows: Vec::new() };
        let mut stage =
            Self { members: Vec::new(), servers, urls: BTreeMap::new(), binaries: binaries.to_owned() };
        for service in ["payments", "orders"] {
            stage.servers.postgres.create_database(service).await?;
            for number in 1..=2 {
                stage.add_service(service, format!("{service}-{number}")).await?;
            }
        }
        for number in 1..=2 {
            stage.add_gateway(format!("gateway-{number}"))?;
        }
        stage.start_members().await?;
        // Killed before that, the broker would forget them.
        for queue in ["orders.0", "orders.dead", "payments.0", "payments.dead", "dead.letters"] {
            stage.servers.rabbitmq.remembers(&format!("ordermesh.events.{queue}")).await?;
        }
        Ok(stage)
    }

    async fn add_service(&mut self, service: &'static str, name: String) -> Result<()> {
        let ports = [Port::reserve()?, Port::reserve()?];
        let (database, broker) = (self.servers.postgres.url(service), self.servers.rabbitmq.amqp_url());
        let database = self.through(&name, "the database", database).await?;
        let broker = self.through(&name, "the broker", broker).await?;
        let mut program = listening(&self.binaries.join(service), &ports)
            .env("DATABASE_URL", database)
            .env("AMQP_URL", broker)
            .env("ADMIN_TOKEN", ADMIN_TOKEN);
        if let Some(payments) = self.urls.get("payments").filter(|_| service == "orders") {
            program = program.env("PAYMENTS_URL", payments.join(","));
        }
        let arrow = Arrow::of(format!("calls to {name}"), service, ports[0].address()).await?;
        self.urls.entry(service).or_default().push(format!("http://{}", arrow.address));
        self.servers.arrows.push(arrow);
        let listener = if service == "orders" { "orders-grpc" } else { "payments-grpc" };
        self.members.push(Member::of(name, listener, program, ports));
        Ok(())
    }

    fn add_gateway(&mut self, name: String) -> Result<()> {
        let ports = [Port::reserve()?, Port::reserve()?];
        let program = listening(&self.binaries.join("gateway"), &ports)
            .args(["--orders-url".to_owned(), self.urls["orders"].join(",")])
            .args(["--payments-url".to_owned(), self.urls["payments"].join(",")]);
        self.members.push(Member::of(name, "http", program, ports));
        Ok(())
    }

    /// The URL of a server by an arrow of its own.
    async fn through(&mut self, name: &str, to: &'static str, url: String) -> Result<String> {
        let server = url.split(['@', '/']).nth(3).context("a URL has an address")?.to_owned();
        let arrow = Arrow::of(format!("{name} to {to}"), to, server.parse()?).await?;
        let through = url.replace(&server, &arrow.address.to_string());
        self.servers.arrows.push(arrow);
        Ok(through)
    }

    async fn start_members(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.start().await?;
        }
        Ok(())
    }

    fn at(&self, name: &str) -> Result<String> {
        let member = self.members.iter().find(|member| member.name == name);
        Ok(format!("http://{}", member.with_context(|| format!("there is no {name}"))?.address()))
    }

    /// By gRPC and by HTTP: those of the first gateway, then those of the second.
    pub(super) fn ways(&self) -> Result<[Way; 4]> {
        let (first, second) = (self.at("gateway-1")?, self.at("gateway-2")?);
        Ok([
            Way::Grpc(Grpc::at(&first, &first)?),
            Way::Http(Api::new(first)?),
            Way::Grpc(Grpc::at(&second, &second)?),
            Way::Http(Api::new(second)?),
        ])
    }

    /// The URL of a database, by no arrow.
    pub(super) fn database(&self, service: &str) -> String {
        self.servers.postgres.url(service)
    }

    /// The URL of the first process of a service, by no arrow.
    pub(super) fn service(&self, service: &str) -> Result<String> {
        self.at(&format!("{service}-1"))
    }

    /// It calls at a gateway.
    pub(super) fn judge(&self) -> Result<Judge> {
        let edge = self.at("gateway-1")?;
        let services = ["orders", "payments"];
        let mut addresses = BTreeMap::new();
        for service in services {
            addresses.insert(service, self.service(service)?);
        }
        let databases = services.map(|service| (service, self.database(service))).into();
        Ok(Judge { calls: Grpc::at(&edge, &edge)?, addresses, databases, patience: REST })
    }

    /// That no process has ended by itself.
    pub(super) async fn run(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.runs().await?;
        }
        Ok(())
    }

    /// Stops everything in order and starts it again.
    pub(super) async fn restart(&mut self) -> Result<()> {
        // The gateways first, so that no call is cut off.
        for member in self.members.iter_mut().rev() {
            member.stop().await?;
        }
        let Servers { postgres, rabbitmq, .. } = &mut self.servers;
        postgres.stop().await?;
        rabbitmq.stop().await?;
        tokio::try_join!(postgres.start_again(), rabbitmq.start_again())?;
        self.start_members().await
    }

    /// Writes what the processes have logged last into a folder, and all that clients have called.
    pub(super) fn write_logs(&self, folder: &Path, journals: &[Journal]) -> Result<()> {
        let mut file = BufWriter::new(File::create(folder.join("journals.txt"))?);
        for journal in journals {
            for call in &journal.calls {
                writeln!(file, "{} {call:?}", journal.user)?;
            }
        }
        file.flush()?;
        for member in &self.members {
            fs::write(folder.join(format!("{}.log", member.name)), member.log())?;
        }
        let log = self.servers.postgres.log()?;
        Ok(fs::write(folder.join("postgres.log"), last_lines(&log))?)
    }
}

fn listening(binary: &Path, [calls, admin]: &[Port; 2]) -> Program {
    let listen = ["--listen".to_owned(), calls.address().to_string()];
    Program::at(binary).args(listen).args(["--admin".to_owned(), admin.address().to_string()])
}

fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// A process that is started again after each of its ends, on the same ports.
pub(super) struct Member {
    pub(super) name: String,
    listener: &'static str,
    program: Program,
    ports: [Port; 2],
    process: Option<Process>,
    /// What those before have written, by when they ended.
    before: VecDeque<(Instant, String)>,
}

impl Member {
    fn of(name: String, listener: &'static str, program: Program, ports: [Port; 2]) -> Self {
        Self { name, listener, program, ports, process: None, before: VecDeque::new() }
    }

    fn address(&self) -> SocketAddr {
        self.ports[0].address()
    }

    /// Its process id, while it runs.
    pub(super) fn pid(&self) -> Option<i64> {
        self.process.as_ref().map(|process| i64::from(process.pid()))
    }

    /// Starts it until it serves: without its database it ends with an error, and whoever runs it starts it again.
    pub(super) async fn start(&mut self) -> Result<()> {
        let what = format!("{} to serve", self.name);
        let (program, listener) = (self.program.clone(), self.listener);
        let serving = eventually(&what, START, async || {
            let mut process = program.start()?;
            match process.address(listener).await {
                Ok(_) => Ok(process),
                Err(error) => {
                    sleep(AGAIN).await;
                    Err(error)
                }
            }
        });
        self.process = Some(serving.await?);
        Ok(())
    }

    /// Ends it as a crash would.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.runs().await?;
        let mut process = self.process.take().context("it was started")?;
        process.kill9().await?;
        self.keep(&process);
        Ok(())
    }

    /// Asks it to stop, and waits until it has: by itself and with success.
    async fn stop(&mut self) -> Result<()> {
        self.runs().await?;
        let mut process = self.process.take().context("it was started")?;
        process.terminate()?;
        let status = process.wait(2 * PATIENCE).await?;
        self.keep(&process);
        ensure!(status.success(), "{} stopped with {status}", self.name);
        Ok(())
    }

    /// Stops it, and starts it again with the binary of a folder.
    pub(super) async fn replace(&mut self, binaries: &Path) -> Result<()> {
        self.stop().await?;
        self.program = self.program.clone().of_folder(binaries)?;
        self.start().await
    }

    /// Freezes it, or lets it go on.
    pub(super) async fn freeze(&mut self, frozen: bool) -> Result<()> {
        self.runs().await?;
        let process = self.process.as_ref().context("it was started")?;
        let pid = Pid::from_raw(i32::try_from(process.pid())?);
        Ok(kill(pid, if frozen { Signal::SIGSTOP } else { Signal::SIGCONT })?)
    }

    /// That it has not ended by itself.
    async fn runs(&mut self) -> Result<()> {
        let process = self.process.as_mut().with_context(|| format!("{} was started", self.name))?;
        if let Ok(status) = process.wait(Duration::ZERO).await {
            bail!("{} ended by itself with {status}\n{}", self.name, last_lines(&process.output()));
        }
        Ok(())
    }

    fn keep(&mut self, ended: &Process) {
        while self.before.front().is_some_and(|(at, _)| at.elapsed() > LAST) {
            self.before.pop_front();
        }
        self.before.push_back((Instant::now(), last_lines(&ended.output())));
    }

    /// What it has written last, those before it first.
    fn log(&self) -> String {
        let recent = self.before.iter().filter(|(at, _)| at.elapsed() <= LAST).map(|(_, log)| log.clone());
        let now = self.process.iter().map(|process| last_lines(&process.output()));
        recent.chain(now).collect::<Vec<_>>().join("\n--- started again ---\n")
    }
}
