//! What nodes of RabbitMQ find each other by: Erlang's port mapper, without which none starts, and the cookie that they share.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use tokio::net::TcpStream;

use crate::{
    Port, Scratch,
    child::{Child, guarded},
    installed,
};

const START: Duration = Duration::from_secs(120);

const FOLDERS: [&str; 1] = ["/usr/lib/erlang/erts-*/bin"];

/// A name server on 127.0.0.1, in the foreground and under our guard, and the home of those who use it.
#[derive(Debug)]
pub(crate) struct Names {
    // Dropped in this order.
    _server: Child,
    port: Port,
    scratch: Scratch,
}

impl Names {
    pub(crate) async fn start() -> Result<Self> {
        let (scratch, port) = (Scratch::new("rabbitmq-names")?, Port::reserve()?);
        write_cookie(scratch.path())?;
        let mut command = guarded(&program()?, None)?;
        command.args(["-port", &port.number().to_string(), "-address", "127.0.0.1"]);
        let mut server = Child::spawn(command, &scratch.path().join("epmd.log"))?;
        server.ready("epmd to listen", START, async || TcpStream::connect(port.address()).await).await?;
        Ok(Self { _server: server, port, scratch })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// The folder with the cookie.
    pub(crate) fn home(&self) -> &Path {
        self.scratch.path()
    }
}

/// Erlang's port mapper.
pub(crate) fn program() -> Result<PathBuf> {
    installed::find("epmd", &FOLDERS)
}

/// Nodes that start at once would each write one of their own.
pub(crate) fn write_cookie(home: &Path) -> Result<()> {
    let cookie = home.join(".erlang.cookie");
    let mut cookie = File::options().write(true).create_new(true).mode(0o400).open(cookie)?;
    Ok(write!(cookie, "{:016X}", rand::random::<u64>())?)
}
