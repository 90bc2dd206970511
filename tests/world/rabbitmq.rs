//! A RabbitMQ broker of one test, which can be stopped, killed and started again; or one that several tests share, which cannot.

use std::{fs, net, os::unix::fs::symlink, path::Path, process::Command, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use lapin::{Connection, ConnectionProperties};
use nix::sys::signal::Signal;
use tokio::{net::TcpStream, time::timeout};

use crate::{PATIENCE, Port, Scratch, child::Child, eventually, rabbitmq_names::Names, rabbitmq_node::Node};

/// Three seconds on an idle machine, many more when several start on few cores.
const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(60);
/// Each has a name server of its own, so all may have the same name, but for the nodes of a cluster.
const NODE: &str = "ordermesh@localhost";

const HANDSHAKE: Duration = Duration::from_secs(5);

/// A broker on 127.0.0.1 with the user `guest`, without plugins: of this test, with the virtual host `/`; a node of a cluster of such; or a
/// virtual host of a broker that other tests use as well ([`RabbitMq::shared`]).
#[derive(Debug)]
pub struct RabbitMq {
    // Dropped first.
    kept: Kept,
    node: Node,
    vhost: String,
}

#[derive(Debug)]
enum Kept {
    Own(Box<Own>),
    /// Our virtual host is deleted when this connection ends, however this process does.
    Shared {
        _lease: net::TcpStream,
    },
}

#[derive(Debug)]
struct Own {
    // Dropped in this order: the broker, its name server, their ports, the data.
    broker: Option<Child>,
    _names: Arc<Names>,
    _ports: [Port; 2],
    amqps: Option<Port>,
    _scratch: Scratch,
}

impl RabbitMq {
    /// Starts a fresh broker; takes three to six seconds, nearly all of it processor time.
    ///
    /// # Errors
    /// When RabbitMQ is not installed or does not start; with the end of its log.
    pub async fn start() -> Result<Self> {
        Self::start_on(Scratch::new("rabbitmq")?, None, "").await
    }

    /// Starts a fresh broker that keeps its messages in this folder, such as that of a small disk. It raises an alarm, and takes no messages,
    /// while less than 50 MB are free there.
    ///
    /// # Errors
    /// As [`RabbitMq::start`].
    pub async fn start_in(folder: &Path) -> Result<Self> {
        let scratch = Scratch::new("rabbitmq")?;
        symlink(folder, scratch.path().join("data"))?;
        Self::start_on(scratch, None, "").await
    }

    /// The same with `settings` for its configuration, which may speak of what is in `scratch`.
    pub(crate) async fn start_on(scratch: Scratch, amqps: Option<Port>, settings: &str) -> Result<Self> {
        let mut this = Self::on(scratch, NODE, Arc::new(Names::start().await?), amqps, settings)?;
        this.start_again().await?;
        Ok(this)
    }

    /// One that does not run yet.
    pub(crate) fn on(
        scratch: Scratch,
        node: &str,
        names: Arc<Names>,
        amqps: Option<Port>,
        settings: &str,
    ) -> Result<Self> {
        let (amqp, distribution) = (Port::reserve()?, Port::reserve()?);
        let node = Node {
            name: node.to_owned(),
            folder: scratch.path().to_owned(),
            home: names.home().to_owned(),
            amqp: amqp.number(),
            distribution: distribution.number(),
            names: names.port(),
        };
        node.prepare(settings)?;
        let own = Own { broker: None, _names: names, _ports: [amqp, distribution], amqps, _scratch: scratch };
        Ok(Self { kept: Kept::Own(Box::new(own)), node, vhost: "/".to_owned() })
    }

    /// A virtual host of a broker that runs, for as long as this connection lasts.
    pub(crate) fn leased(node: Node, vhost: String, lease: net::TcpStream) -> Self {
        Self { kept: Kept::Shared { _lease: lease }, node, vhost }
    }

    /// Starts it on the same port with the same data, after [`RabbitMq::stop`] or [`RabbitMq::kill`].
    ///
    /// # Errors
    /// When it runs already, or does not open a connection within two minutes.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.own()?.broker.is_none(), "RabbitMQ runs already");
        let mut broker = Child::spawn(self.node.command("rabbitmq-server")?, &self.node.log())?;
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
        self.own()?.broker = Some(broker);
        Ok(())
    }

    /// The broker's URL.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{}", self.node.amqp, self.vhost.replace('/', "%2f"))
    }

    /// The name of its node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node.name
    }

    /// The broker of this test alone, whose life is the test's to end.
    fn own(&mut self) -> Result<&mut Own> {
        match &mut self.kept {
            Kept::Own(own) => Ok(own),
            Kept::Shared { .. } => {
                bail!("other tests use this RabbitMQ: a test that ends one starts its own")
            }
        }
    }

    pub(crate) fn amqps_port(&self) -> Option<&Port> {
        match &self.kept {
            Kept::Own(own) => own.amqps.as_ref(),
            Kept::Shared { .. } => None,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.node.folder
    }

    /// What it has logged so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.node.log())?)
    }

    /// Shuts it down in order: connections are closed, queues are flushed.
    ///
    /// # Errors
    /// When it is not running or takes longer than a minute.
    pub async fn stop(&mut self) -> Result<()> {
        let mut broker = self.own()?.broker.take().context("RabbitMQ is not running")?;
        broker.signal(Signal::SIGTERM)?;
        broker.ended(STOP).await?;
        Ok(())
    }

    /// Waits until a quorum queue that was just declared survives [`RabbitMq::kill`].
    ///
    /// The broker confirms a message when it is on disk, but writes the table in which a restart finds the queue itself only
    /// half a second to a second after the declaration (`auto_save` in ra_directory.erl). A crash in between loses the queue's
    /// content and leaves it without a leader: every later command on it waits for ever. Declarations put the writing off, those of others
    /// in a shared broker too.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn remembers(&self, queue: &str) -> Result<()> {
        let node = &self.node.name;
        let table = self.node.folder.join(format!("data/{node}/quorum/{node}/names.dets"));
        eventually(&format!("the broker to remember {queue}"), PATIENCE, async || {
            let names = fs::read(&table)?;
            let name = format!("{}_{queue}", self.vhost.replace('/', "%2F"));
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
        let mut broker = self.own()?.broker.take().context("RabbitMQ is not running")?;
        broker.signal(Signal::SIGKILL)?;
        broker.ended(STOP).await?;
        Ok(())
    }

    /// Runs `rabbitmqctl` against it and returns what it prints. A command about a virtual host means ours.
    ///
    /// # Errors
    /// When it does not succeed, with what it said.
    pub async fn control(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.node.command("rabbitmqctl")?;
        command.args(arguments);
        if matches!(self.kept, Kept::Shared { .. }) {
            command.args(["-p", &self.vhost]);
        }
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
        let command = self.node.command("rabbitmqctl")?;
        let server = Node::server()?;
        let folder = server.parent().context("a script has a folder")?.display().to_string();
        let mut script = Command::new("/bin/sh");
        script.arg(file).envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.env("PATH", format!("{folder}:/usr/sbin:/usr/bin:/sbin:/bin"));
        script.envs(env.iter().map(|(name, value)| (name, value)));
        let output = tokio::process::Command::from(script).output().await?;
        ensure!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // What it holds is about to be deleted: an orderly shutdown would only take time.
        if let Some(broker) = &mut self.broker {
            broker.end(Signal::SIGKILL);
        }
    }
}

/// A whole AMQP handshake: an open port alone does not mean that the virtual host is there.
async fn handshake(url: &str) -> Result<()> {
    let connection = timeout(HANDSHAKE, Connection::connect(url, ConnectionProperties::default())).await??;
    Ok(connection.close(200, "ready".into()).await?)
}
