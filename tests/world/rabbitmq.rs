//! A RabbitMQ broker of one test: it can be stopped, killed and started again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use lapin::{Connection, ConnectionProperties};
use nix::sys::signal::Signal;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    PATIENCE, Port, Scratch,
    child::{Child, guarded},
    eventually, installed,
};

/// Three seconds on an idle machine, many more when several start on few cores.
const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(60);
/// Each broker has a name server of its own, so all may have the same name.
const NODE: &str = "ordermesh@localhost";

const HANDSHAKE: Duration = Duration::from_secs(5);

/// The environment variable with the folder of another version's scripts.
const CHOSEN: &str = "RABBITMQ_BIN";

/// The server's own script: the one in Debian's /usr/sbin changes to the user `rabbitmq` and its fixed directories.
const FOLDERS: [&str; 3] =
    ["/usr/lib/rabbitmq/bin", "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin", "/opt/rabbitmq/sbin"];
const EPMD_FOLDERS: [&str; 1] = ["/usr/lib/erlang/erts-*/bin"];

/// A broker on 127.0.0.1 with the user `guest` and the virtual host `/`, without plugins.
#[derive(Debug)]
pub struct RabbitMq {
    // Dropped in this order: the broker, its name server, their ports, the data.
    broker: Option<Child>,
    _names: Child,
    ports: Ports,
    scratch: Scratch,
    script: PathBuf,
}

#[derive(Debug)]
struct Ports {
    amqp: Port,
    amqps: Option<Port>,
    names: Port,
    distribution: Port,
}

impl RabbitMq {
    /// Starts a fresh broker; takes three to six seconds, nearly all of it processor time.
    ///
    /// # Errors
    /// When RabbitMQ is not installed or does not start; with the end of its log.
    pub async fn start() -> Result<Self> {
        Self::start_on(Scratch::new("rabbitmq")?, None, "").await
    }

    /// The same with `settings` for its configuration, which may speak of what is in `scratch`.
    pub(crate) async fn start_on(scratch: Scratch, amqps: Option<Port>, settings: &str) -> Result<Self> {
        let script = installed::find_chosen("rabbitmq-server", CHOSEN, &FOLDERS)?;
        let [amqp, names, distribution] = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
        let ports = Ports { amqp, amqps, names, distribution };
        for folder in ["home", "data", "log"] {
            fs::create_dir(scratch.path().join(folder))?;
        }
        fs::write(scratch.path().join("enabled_plugins"), "[].\n")?;
        fs::write(scratch.path().join("rabbitmq-env.conf"), "")?;
        fs::write(
            scratch.path().join("rabbitmq.conf"),
            format!(
                "listeners.tcp.1 = {}\nlog.console = true\nlog.console.use_colors = off\nlog.file = false\n{settings}",
                ports.amqp.address()
            ),
        )?;
        let names = name_server(&scratch, &ports).await?;
        let mut this = Self { broker: None, _names: names, ports, scratch, script };
        this.start_again().await?;
        Ok(this)
    }

    /// Starts it on the same port with the same data, after [`RabbitMq::stop`] or [`RabbitMq::kill`].
    ///
    /// # Errors
    /// When it runs already, or does not open a connection within two minutes.
    pub async fn start_again(&mut self) -> Result<()> {
        if self.broker.is_some() {
            bail!("RabbitMQ runs already");
        }
        let mut broker =
            Child::spawn(self.command("rabbitmq-server")?, &self.scratch.path().join("rabbitmq.log"))?;
        let (url, amqps) = (self.amqp_url(), self.amqps_port().map(Port::address));
        let opened = broker.ready("RabbitMQ to open a connection", START, async || {
            handshake(&url).await?;
            // One listener begins after the other.
            if let Some(amqps) = amqps {
                TcpStream::connect(amqps).await?;
            }
            anyhow::Ok(())
        });
        opened.await?;
        self.broker = Some(broker);
        Ok(())
    }

    /// The broker's URL.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.ports.amqp.address())
    }

    pub(crate) fn amqps_port(&self) -> Option<&Port> {
        self.ports.amqps.as_ref()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Shuts it down in order: connections are closed, queues are flushed.
    ///
    /// # Errors
    /// When it is not running or takes longer than a minute.
    pub async fn stop(&mut self) -> Result<()> {
        let mut broker = self.broker.take().context("RabbitMQ is not running")?;
        broker.signal(Signal::SIGTERM)?;
        broker.ended(STOP).await?;
        Ok(())
    }

    /// Waits until a quorum queue in `/` that was just declared survives [`RabbitMq::kill`].
    ///
    /// The broker confirms a message when it is on disk, but writes the table in which a restart finds the queue itself only
    /// half a second to a second after the declaration (`auto_save` in ra_directory.erl). A crash in between loses the queue's
    /// content and leaves it without a leader: every later command on it waits for ever.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn remembers(&self, queue: &str) -> Result<()> {
        let table = self.scratch.path().join(format!("data/{NODE}/quorum/{NODE}/names.dets"));
        eventually(&format!("the broker to remember {queue}"), PATIENCE, async || {
            let names = fs::read(&table)?;
            let name = format!("%2F_{queue}");
            let found = names.windows(name.len()).any(|bytes| bytes == name.as_bytes());
            ensure!(found, "{} bytes without it", names.len());
            Ok(())
        })
        .await
    }

    /// Crashes it with SIGKILL: no connection is told, nothing is flushed. See [`RabbitMq::remembers`] for fresh queues.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> Result<()> {
        let mut broker = self.broker.take().context("RabbitMQ is not running")?;
        broker.signal(Signal::SIGKILL)?;
        broker.ended(STOP).await?;
        Ok(())
    }

    /// Runs `rabbitmqctl` against it and returns what it prints.
    ///
    /// # Errors
    /// When it does not succeed, with what it said.
    pub async fn control(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command("rabbitmqctl")?;
        command.args(arguments);
        let output = tokio::process::Command::from(command).output().await?;
        if !output.status.success() {
            bail!("rabbitmqctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a script whose commands are the broker's own and mean this one, with these variables in its environment.
    ///
    /// # Errors
    /// When it does not succeed, with what it said.
    pub async fn script(&self, file: &Path, env: &[(String, &str)]) -> Result<()> {
        let mut command = self.command("rabbitmqctl")?;
        let folder = self.script.parent().context("a script has a folder")?.display().to_string();
        let mut script = Command::new("/bin/sh");
        script.arg(file).envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.env("PATH", format!("{folder}:/usr/sbin:/usr/bin:/sbin:/bin"));
        script.envs(env.iter().map(|(name, value)| (name, value)));
        command = script;
        let output = tokio::process::Command::from(command).output().await?;
        ensure!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn command(&self, script: &str) -> Result<Command> {
        let at = |name: &str| self.scratch.path().join(name);
        let mut command = guarded(&self.script.with_file_name(script), None)?;
        command
            .env("HOME", at("home"))
            .env("RABBITMQ_NODENAME", NODE)
            .env("RABBITMQ_MNESIA_BASE", at("data"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins"))
            // The machine's own file would set the node name of the machine's own broker.
            .env("RABBITMQ_CONF_ENV_FILE", at("rabbitmq-env.conf"))
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.number().to_string())
            .env("ERL_EPMD_PORT", self.ports.names.number().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            // Makes the script become the virtual machine instead of waiting for it, so that the guard, our signals and
            // the process id mean the broker itself. Its input and shell are then switched off here.
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env(
                "RABBITMQ_SERVER_START_ARGS",
                // The virtual machine must not start a name server as a daemon: that would outlive the test.
                "-noshell -noinput -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            );
        Ok(command)
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        // What it holds is about to be deleted: an orderly shutdown would only take time.
        if let Some(broker) = &mut self.broker {
            broker.end(Signal::SIGKILL);
        }
    }
}

/// Erlang's port mapper, which a node cannot do without; in the foreground and under our guard.
async fn name_server(scratch: &Scratch, ports: &Ports) -> Result<Child> {
    let mut command = guarded(&installed::find("epmd", &EPMD_FOLDERS)?, None)?;
    command.args(["-port", &ports.names.number().to_string(), "-address", "127.0.0.1"]);
    let mut names = Child::spawn(command, &scratch.path().join("epmd.log"))?;
    names.ready("epmd to listen", START, async || TcpStream::connect(ports.names.address()).await).await?;
    Ok(names)
}

/// A whole AMQP handshake: an open port alone does not mean that the virtual host is there.
async fn handshake(url: &str) -> Result<()> {
    let connection = timeout(HANDSHAKE, Connection::connect(url, ConnectionProperties::default())).await??;
    Ok(connection.close(200, "ready".into()).await?)
}
