//! A child process that cannot outlive the test, whatever ends the test.

use std::{
    fmt::Display,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child as StdChild, Command, ExitStatus, Stdio},
    sync::{LazyLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{eventually, installed};

/// How much of a child's output an error shows.
const TAIL_LINES: usize = 40;

/// How long a dropped child may take to be gone after its signal.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// A running program whose output goes to a file: it cannot block on a full pipe, and what it said survives it.
#[derive(Debug)]
pub(crate) struct Child {
    inner: StdChild,
    name: String,
    log: PathBuf,
}

/// Builds the command that runs `program` under a guard: the kernel kills it when the test's process ends. `as_user` drops
/// root's privileges for servers that refuse to run as root.
pub(crate) fn guarded(program: &Path, as_user: Option<&str>) -> Result<Command> {
    let mut command = if cfg!(target_os = "linux") {
        let mut command = Command::new(installed::find("setpriv", &[])?);
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = as_user {
            command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
        }
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    // What a developer's shell happens to export must not reach a test.
    command.env_clear();
    for name in
        ["PATH", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE", "LLVM_PROFILE_FILE", "POSTGRES_BIN", "RABBITMQ_BIN"]
    {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    Ok(command)
}

impl Child {
    /// Starts `command`; both its outputs are appended to the file `log`, whose name is also the child's name in messages.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let name = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let inner = spawn_on_lasting_thread(command).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { inner, name, log: log.to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.inner.id()
    }

    /// The file its output goes to.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// All it has written so far.
    pub(crate) fn output(&self) -> String {
        fs::read(&self.log)
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Sends a signal, unless it has ended already.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        // Once reaped the id may belong to someone else; try_wait tells, and an unreaped one keeps its id.
        if self.inner.try_wait()?.is_none() {
            kill(pid(self.inner.id())?, signal)?;
        }
        Ok(())
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        let what = format!("the end of {name}");
        let ended =
            eventually(&what, deadline, async || self.inner.try_wait()?.context("it still runs")).await;
        ended.with_context(|| tail(&name, &self.output()))
    }

    /// Calls `probe` until it returns `Ok`; gives up at once when the child has ended.
    pub(crate) async fn ready<T, E: Display>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut probe: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T> {
        let name = self.name.clone();
        let inner = &mut self.inner;
        let outcome = eventually(what, deadline, async || {
            let ended = inner.try_wait()?;
            match probe().await {
                Ok(value) => anyhow::Ok(Ok(value)),
                Err(seen) => match ended {
                    Some(status) => Ok(Err(status)),
                    None => bail!("{seen:#}"),
                },
            }
        });
        match outcome.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(status)) => {
                bail!("{name} ended with {status} before {what}\n{}", tail(&name, &self.output()))
            }
            Err(error) => Err(error.context(tail(&name, &self.output()))),
        }
    }

    /// Ends it for a `Drop`, which cannot wait asynchronously. Its own drop kills it when `signal` does not help.
    pub(crate) fn end(&mut self, signal: Signal) {
        let _ = self.signal(signal);
        let end = Instant::now() + LAST_MOMENT;
        while Instant::now() < end {
            if !matches!(self.inner.try_wait(), Ok(None)) {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        if thread::panicking() {
            eprintln!("{}", tail(&self.name, &self.output()));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.inner.kill();
        let _ = self.inner.wait();
    }
}

/// The end of an output, for a message.
pub(crate) fn tail(name: &str, output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    format!("--- {name}, last lines of its output:\n{}", lines[from..].join("\n"))
}

pub(crate) fn pid(id: u32) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(id)?))
}

type Request = (Command, mpsc::SyncSender<io::Result<StdChild>>);

/// The kernel's guard watches the thread that started the child, not the process. A runtime's threads come and go, so all
/// children are started by one thread that lives as long as the process.
static SPAWNER: LazyLock<mpsc::Sender<Request>> = LazyLock::new(|| {
    let (sender, requests) = mpsc::channel::<Request>();
    thread::spawn(move || {
        for (mut command, reply) in requests {
            let _ = reply.send(command.spawn());
        }
    });
    sender
});

fn spawn_on_lasting_thread(command: Command) -> Result<StdChild> {
    let (reply, answer) = mpsc::sync_channel(1);
    SPAWNER.send((command, reply)).ok().context("the starting thread is gone")?;
    Ok(answer.recv()??)
}
