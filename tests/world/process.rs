//! Our own binaries as child processes: started, asked for their address, stopped, killed, started again.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::{
    PATIENCE, Scratch,
    child::{Child, guarded},
};

/// How to start one of our binaries, as often as a test likes. Its environment holds only what is set here.
#[derive(Debug, Clone)]
pub struct Program {
    binary: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    dir: Option<PathBuf>,
}

impl Program {
    /// One of the workspace's binaries by its name, such as `orders`.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn named(name: &str) -> Result<Self> {
        // target/<profile>/deps/<test>: binaries of other packages lie one folder up, where cargo gives tests no variable
        // for them.
        let test = std::env::current_exe()?;
        let profile = test.ancestors().nth(2).context("the test runs outside a target directory")?;
        let binary = profile.join(name).with_extension(std::env::consts::EXE_EXTENSION);
        ensure!(binary.is_file(), "{} is missing: run cargo build --workspace first", binary.display());
        Ok(Self::at(&binary))
    }

    /// Any binary by its path.
    #[must_use]
    pub fn at(binary: &Path) -> Self {
        Self { binary: binary.to_owned(), args: Vec::new(), env: Vec::new(), dir: None }
    }

    /// The binary of the same name in another folder, with the arguments and variables that this one has.
    ///
    /// # Errors
    /// When it is not there.
    pub fn of_folder(mut self, folder: &Path) -> Result<Self> {
        self.binary = folder.join(self.binary.file_name().context("a binary has a name")?);
        ensure!(self.binary.is_file(), "{} is missing", self.binary.display());
        Ok(self)
    }

    /// Where it is.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Adds command line arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: Into<String>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Runs it in this directory, which then outlives the process; otherwise in an empty one of its own.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Ignores SIGXFSZ, so that a write beyond the limit of [`Process::limit_files`] fails instead of ending the process.
    #[must_use]
    pub fn ignoring_sigxfsz(mut self) -> Self {
        let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
        let own = [script.to_owned(), self.binary.display().to_string()];
        self.args.splice(0..0, ["-c".to_owned()].into_iter().chain(own));
        self.binary = "/bin/sh".into();
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the operating system cannot.
    pub fn start(&self) -> Result<Process> {
        let scratch = Scratch::new("process")?;
        let name = self.binary.file_stem().unwrap_or_default().to_string_lossy();
        let mut command = guarded(&self.binary, None)?;
        command.args(&self.args).envs(self.env.iter().cloned());
        command.current_dir(self.dir.as_deref().unwrap_or(scratch.path()));
        let child = Child::spawn(command, &scratch.path().join(format!("{name}.log")))?;
        Ok(Process { child, _scratch: scratch })
    }
}

/// A running binary of ours; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    _scratch: Scratch,
}

impl Process {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Lets every write to a file at or beyond so many bytes fail (EFBIG); `None` allows all of them again.
    ///
    /// # Errors
    /// When there is no program `prlimit`, or it may not.
    pub fn limit_files(&self, bytes: Option<u64>) -> Result<()> {
        let soft = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &self.pid().to_string(), &format!("--fsize={soft}:unlimited")]);
        let limited = prlimit.output().context("there is no program `prlimit`")?;
        ensure!(limited.status.success(), "{}", String::from_utf8_lossy(&limited.stderr));
        Ok(())
    }

    /// Everything it has written to its standard output and error so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.child.output()
    }

    /// Waits for a line of its output that starts with `prefix` and returns the whole line.
    ///
    /// # Errors
    /// When it ends or [`PATIENCE`] runs out before; with the end of its output.
    pub async fn line(&mut self, prefix: &str) -> Result<String> {
        self.line_within(prefix, PATIENCE).await
    }

    /// Like [`Process::line`], for a process that takes its time.
    ///
    /// # Errors
    /// When it ends or `deadline` passes before; with the end of its output.
    pub async fn line_within(&mut self, prefix: &str, deadline: Duration) -> Result<String> {
        let what = format!("a line that starts with {prefix:?}");
        self.find(&what, deadline, |line| line.starts_with(prefix).then(|| line.to_owned())).await
    }

    /// Waits for a line of its output, such as one of its log, that contains `text`.
    ///
    /// # Errors
    /// When it ends or [`PATIENCE`] runs out before; with the end of its output.
    pub async fn line_with(&mut self, text: &str) -> Result<String> {
        let what = format!("a line with {text:?}");
        self.find(&what, PATIENCE, |line| line.contains(text).then(|| line.to_owned())).await
    }

    /// Waits for the address it listens on: for `http`, the one in a line such as `listening http=127.0.0.1:41233` or
    /// `listening grpc=127.0.0.1:41234 http=127.0.0.1:41233`.
    ///
    /// # Errors
    /// When it ends or [`PATIENCE`] runs out before; with the end of its output.
    pub async fn address(&mut self, listener: &str) -> Result<SocketAddr> {
        let what = format!("the address of its listener {listener:?}");
        self.find(&what, PATIENCE, |line| {
            let listeners = line.strip_prefix("listening ")?.split_whitespace();
            let mut pairs = listeners.filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == listener)?.1.parse().ok()
        })
        .await
    }

    /// Ends it with SIGKILL, as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// When the operating system cannot.
    pub async fn kill9(&mut self) -> Result<ExitStatus> {
        self.child.signal(Signal::SIGKILL)?;
        self.wait(PATIENCE).await
    }

    /// Asks it to stop (SIGTERM), without waiting: see [`Process::wait`].
    ///
    /// # Errors
    /// When the operating system cannot.
    pub fn terminate(&mut self) -> Result<()> {
        self.child.signal(Signal::SIGTERM)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it still runs after `deadline`; with the end of its output.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.child.ended(deadline).await
    }

    async fn find<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        pick: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let log = self.child.log().to_owned();
        self.child
            .ready(what, deadline, async || {
                let output = std::fs::read_to_string(&log)?;
                // The last line may be half written.
                let complete = output.rsplit_once('\n').map_or("", |(complete, _)| complete);
                complete
                    .lines()
                    .find_map(&pick)
                    .with_context(|| format!("{} lines", complete.lines().count()))
            })
            .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.end(Signal::SIGKILL);
    }
}
