//! The two edges as processes, and the CPU time that the kernel has counted for them.

use std::{
    env,
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::net::{TcpListener, TcpStream};
use world::Scratch;

use crate::{envoy, secured::Secured};

/// Threads that work on requests, of each.
const WORKERS: usize = 2;

/// A running edge; dropping it ends it.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: Scratch,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Process {
    /// The gateway as it ships: every layer, limit and log line. It is that of this build, unless `GATEWAY` is the path of another one.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn gateway(upstream: SocketAddr, secured: Option<&Secured>) -> Result<Self> {
        let scheme = if secured.is_some() { "https" } else { "http" };
        let (address, url) = (free().await?, format!("{scheme}://localhost:{}", upstream.port()));
        let binary = match env::var_os("GATEWAY") {
            Some(another) => another.into(),
            None => own_folder()?.join("gateway"),
        };
        let mut command = Command::new(binary);
        command.args(["--listen", &address.to_string(), "--admin", "127.0.0.1:0"]);
        command.args(["--threads", &WORKERS.to_string()]);
        command.args(["--orders-url", &url, "--payments-url", &url]);
        // All clients of a bench have one address.
        command.args(["--max-streams-per-client", "16384"]);
        command.env("LOG_FORMAT", "json"); // as in the image
        if let Some(secured) = secured {
            let file = |name: &str| secured.certificates.file(name);
            command.env("TLS_CERT", file("gateway.crt")).env("TLS_KEY", file("gateway.key"));
            command.env("UPSTREAM_CA", file("ca.crt")).envs(secured.issuer.env());
        }
        Self::start(command, address, Scratch::new("edge")?).await
    }

    /// Envoy with the transcoder and the router, the check of tokens where it is secured, and nothing else: no access log, no statistics
    /// beyond its own.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn envoy(
        binary: &OsStr,
        upstream: SocketAddr,
        secured: Option<&Secured>,
    ) -> Result<Self> {
        let (address, folder) = (free().await?, Scratch::new("edge")?);
        let (set, config) = (folder.path().join("set.binpb"), folder.path().join("envoy.json"));
        fs::write(&set, ordermesh::DESCRIPTOR_SET)?;
        fs::write(&config, envoy::config(address, upstream, &set.to_string_lossy(), secured).to_string())?;
        let mut command = Command::new(binary);
        command.arg("-c").arg(&config).args(["--concurrency", &WORKERS.to_string()]);
        command.args(["--log-level", "error", "--disable-hot-restart"]);
        Self::start(command, address, folder).await
    }

    async fn start(mut command: Command, address: SocketAddr, folder: Scratch) -> Result<Self> {
        let child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot start an edge")?;
        let mut process = Self { child, address, _folder: folder };
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = process.child.try_wait()? {
                bail!("an edge ended: {status}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(process)
    }

    /// CPU time so far, of all threads, in nanoseconds (`Documentation/scheduler/sched-stats.rst`).
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn cpu_nanos(&self) -> Result<u64> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let stat = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanos += stat.split_whitespace().next().context("no time")?.parse::<u64>()?;
        }
        Ok(nanos)
    }
}

impl Process {
    /// Memory that is resident now, in bytes.
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}

/// The folder of this binary, which was built together with the others.
pub(crate) fn own_folder() -> Result<PathBuf> {
    let here = env::current_exe()?;
    Ok(here.parent().context("a file has a folder")?.to_owned())
}

async fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?)
}
