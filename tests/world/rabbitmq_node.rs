//! A node of RabbitMQ: where it keeps its files and listens, and how its commands are called.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Result;

use crate::{child::guarded, installed};

/// The environment variable with the folder of another version's scripts.
const CHOSEN: &str = "RABBITMQ_BIN";

/// The server's own script: the one in Debian's /usr/sbin changes to the user `rabbitmq` and its fixed directories.
const FOLDERS: [&str; 3] =
    ["/usr/lib/rabbitmq/bin", "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin", "/opt/rabbitmq/sbin"];

/// Makes the script become the virtual machine instead of waiting for it. The virtual machine must not start a name server as a daemon: that
/// would outlive the test.
pub(crate) const START_ARGUMENTS: &str =
    "-noshell -noinput -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}";

/// A node on 127.0.0.1, by its ports.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// The folder with the cookie.
    pub(crate) home: PathBuf,
    pub(crate) amqp: u16,
    pub(crate) distribution: u16,
    /// That of its name server.
    pub(crate) names: u16,
}

impl Node {
    /// Writes its configuration, with these settings as well.
    pub(crate) fn prepare(&self, settings: &str) -> Result<()> {
        for folder in ["data", "log"] {
            fs::create_dir_all(self.folder.join(folder))?;
        }
        fs::write(self.folder.join("enabled_plugins"), "[].\n")?;
        fs::write(self.folder.join("rabbitmq-env.conf"), "")?;
        let console = "log.console = true\nlog.console.use_colors = off\nlog.file = false\n";
        let settings = format!("listeners.tcp.1 = 127.0.0.1:{}\n{console}{settings}", self.amqp);
        Ok(fs::write(self.folder.join("rabbitmq.conf"), settings)?)
    }

    /// The file that its output goes to.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("rabbitmq.log")
    }

    /// The script that starts a node.
    pub(crate) fn server() -> Result<PathBuf> {
        installed::find_chosen("rabbitmq-server", CHOSEN, &FOLDERS)
    }

    /// One of RabbitMQ's scripts, for this node.
    pub(crate) fn command(&self, script: &str) -> Result<Command> {
        let at = |name: &str| self.folder.join(name);
        let mut command = guarded(&Self::server()?.with_file_name(script), None)?;
        command
            .env("HOME", &self.home)
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_MNESIA_BASE", at("data"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins"))
            // The machine's own file would set the node name of the machine's own broker.
            .env("RABBITMQ_CONF_ENV_FILE", at("rabbitmq-env.conf"))
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("ERL_EPMD_PORT", self.names.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            // So that the guard, our signals and the process id mean the broker itself. Its input and shell are switched off below.
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env("RABBITMQ_SERVER_START_ARGS", START_ARGUMENTS);
        Ok(command)
    }
}
