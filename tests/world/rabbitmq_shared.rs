//! One broker for all tests of a run that do nothing to the broker itself, each with a virtual host of its own.

use std::{
    fs::{self, File},
    net,
    os::unix::process::parent_id,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    task::spawn_blocking,
    time::timeout,
};

use crate::{
    PATIENCE, Port, RabbitMq, child, eventually, installed, rabbitmq_names,
    rabbitmq_node::{self, Node},
    scratch,
};

/// Until it gives out the first virtual host; on an idle machine five seconds.
const START: Duration = Duration::from_secs(120);

/// Runs inside of the node: gives each connection a fresh virtual host, whose name is a line, and deletes it when the connection ends. That
/// takes a fifteenth of the processor time of a call of rabbitmqctl, and no test that is killed leaves anything.
const LEASES: &str = include_str!("rabbitmq_leases.erl");

/// Starts the node and its name server, and ends both when the run has ended or the node has. A number is given to another process in time, so
/// that a process is known by its start as well.
const GUARD: &str = r#"
run=$1 began=$2 folder=$3 names=$4 server=$5
lives() { read -r stat < "/proc/$run/stat" && set -- ${stat##*) } && [ "${20}" = "$began" ]; } 2> /dev/null
setpriv --pdeathsig KILL "$names" -port "$ERL_EPMD_PORT" -address 127.0.0.1 & names=$!
setpriv --pdeathsig KILL "$server" & server=$!
while lives && kill -0 $server; do sleep 1; done
kill -KILL $server $names
wait
lives || rm -rf "$folder"
"#;

impl RabbitMq {
    /// A fresh virtual host of a broker that the tests of a run share, with all permissions for `guest` in it. The first one starts the broker,
    /// which takes five seconds, and the others wait for it; it ends with the run. Nothing may be done to the broker itself, nor to its users:
    /// see [`RabbitMq::start`].
    ///
    /// # Errors
    /// When RabbitMQ is not installed, does not start, or has ended; with the end of its log.
    pub async fn shared() -> Result<Self> {
        // How a run is recognized, and its end, is known of Linux alone.
        if !cfg!(target_os = "linux") {
            return Self::start().await;
        }
        let (node, leases, _held) = spawn_blocking(|| Run::ours()?.node()).await??;
        let leased =
            eventually("the shared RabbitMQ to give a virtual host", START, async || {
                match timeout(PATIENCE, lease(leases)).await.context("no answer").flatten() {
                    Ok(leased) => anyhow::Ok(Ok(leased)),
                    Err(seen) if is_over(&node.folder)? => {
                        Ok(Err(seen.context("the shared RabbitMQ has ended")))
                    }
                    Err(seen) => Err(seen),
                }
            });
        let log = || child::tail("rabbitmq", &fs::read_to_string(node.log()).unwrap_or_default());
        let (lease, vhost) = leased.await.flatten().with_context(log)?;
        Ok(Self::leased(node, vhost, lease))
    }
}

/// The tests that share a broker: those of one process of nextest, else those of this process.
struct Run {
    process: u32,
    began: String,
    folder: PathBuf,
}

impl Run {
    fn ours() -> Result<Self> {
        let process = if std::env::var_os("NEXTEST").is_some() { parent_id() } else { process::id() };
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The 22nd word, see proc(5); the second may have spaces and parentheses in it.
        let began = stat.rsplit_once(") ").and_then(|(_, words)| words.split(' ').nth(19));
        let began = began.context("/proc/PID/stat is of another form")?.to_owned();
        let folder = scratch::common(&format!("run-{process}-{began}"));
        Ok(Self { process, began, folder })
    }

    /// The node, which may still be about to start, and the port of its virtual hosts. Whoever comes first starts it, and holds its ports until
    /// it listens on them.
    fn node(&self) -> Result<(Node, u16, Option<[Port; 4]>)> {
        fs::create_dir_all(&self.folder)?;
        let starting = File::create(self.folder.join("starting"))?;
        starting.lock()?;
        let file = self.folder.join("ports");
        if let Ok(ports) = fs::read_to_string(&file) {
            let ports = ports.split(' ').map(str::parse).collect::<Result<Vec<u16>, _>>()?;
            let (node, leases) = self.at(&ports)?;
            return Ok((node, leases, None));
        }
        let held = [Port::reserve()?, Port::reserve()?, Port::reserve()?, Port::reserve()?];
        let ports = held.each_ref().map(Port::number);
        let (node, leases) = self.at(&ports)?;
        self.start(&node, leases)?;
        fs::write(file, ports.map(|port| port.to_string()).join(" "))?;
        Ok((node, leases, Some(held)))
    }

    fn at(&self, ports: &[u16]) -> Result<(Node, u16)> {
        let [amqp, distribution, names, leases] = *ports else { anyhow::bail!("not four ports: {ports:?}") };
        let (folder, home) = (self.folder.clone(), self.folder.clone());
        Ok((Node { name: "ordermesh@localhost".to_owned(), folder, home, amqp, distribution, names }, leases))
    }

    /// Starts the guard, which neither belongs to this process nor holds its output.
    fn start(&self, node: &Node, leases: u16) -> Result<()> {
        let (setsid, names, server) =
            (installed::find("setsid", &[])?, rabbitmq_names::program()?, Node::server()?);
        node.prepare("")?;
        rabbitmq_names::write_cookie(&node.home)?;
        let script = self.folder.join("leases.erl");
        fs::write(&script, LEASES.replace("PORT", &leases.to_string()))?;
        let eval = format!("-eval spawn(file,eval,[\"{}\"]).", script.display());
        let mut start = node.command("rabbitmq-server")?;
        start.env("RABBITMQ_SERVER_START_ARGS", format!("{} {eval}", rabbitmq_node::START_ARGUMENTS));
        let environment = start.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let log = File::create(node.log())?;
        // Says for as long as the guard lives that the folder is in use.
        let alive = scratch::hold(&self.folder)?;
        let mut guard = Command::new(setsid);
        guard.args(["--fork", "/bin/sh", "-c", GUARD, "guard", &self.process.to_string(), &self.began]);
        guard.arg(&self.folder).arg(names).arg(server).env_clear().envs(environment);
        let forked = guard.current_dir("/").stdin(alive).stdout(log.try_clone()?).stderr(log).status()?;
        ensure!(forked.success(), "setsid: {forked}");
        Ok(())
    }
}

/// Whether nobody guards the node any more.
fn is_over(folder: &Path) -> Result<bool> {
    Ok(scratch::hold(folder).is_ok())
}

async fn lease(port: u16) -> Result<(net::TcpStream, String)> {
    let mut reader = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    let mut vhost = String::new();
    reader.read_line(&mut vhost).await?;
    ensure!(vhost.ends_with('\n'), "the connection was closed: {vhost:?}");
    Ok((reader.into_inner().into_std()?, vhost.trim_end().to_owned()))
}
