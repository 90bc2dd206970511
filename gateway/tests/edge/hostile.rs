//! Clients that mean harm: the binary `gateway` as a process of its own, whose memory the kernel counts, and a neighbour who
//! wants nothing but his answers while it is under attack.

mod slow;
mod large;
mod frames;
mod held;
mod shares;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
};
use world::{Process, Program};

use crate::{
    upstream::{Upstream, echo},
    world::shapes,
};

/// What is asked with this text is never answered.
const NEVER: &str = "never";

const MIB: u64 = 1 << 20;

/// Longer than this, and the neighbour would say that the edge is down. Attackers, the edge and its service share the
/// processors, and nothing is optimized here.
const UNHARMED: Duration = Duration::from_secs(10);

/// An edge for the services of `transcode/tests/proto/shapes.proto` as a process, with an upstream that answers what it is asked, but [`NEVER`].
struct Besieged {
    address: SocketAddr,
    process: Process,
    /// Memory that the process had taken at its worst before the attack, in bytes.
    before: u64,
    neighbour: Neighbour,
    _upstream: Upstream,
    _folder: tempfile::TempDir,
}

impl Besieged {
    async fn with(flags: &[&str]) -> Self {
        let upstream = Upstream::start(async |call| match call.path.ends_with("/Watch") {
            true => Ok(tonic::Response::new(stream::pending().boxed())),
            false if call.wire.ends_with(NEVER.as_bytes()) => std::future::pending().await,
            false => echo(&call),
        });
        let upstream = upstream.await;
        let folder = tempfile::tempdir().expect("a folder");
        let set = folder.path().join("shapes.binpb");
        fs::write(&set, shapes("http://unused").descriptor_set).expect("a file");
        let program = Program::at(Path::new(env!("CARGO_BIN_EXE_gateway")))
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", &upstream.url()])
            .args(["--descriptor-set", set.to_str().expect("UTF-8")])
            .args(flags.iter().copied())
            .env("RUST_LOG", "warn");
        let mut process = program.start().expect("the edge starts");
        let address = process.address("http").await.expect("the edge listens");
        let neighbour = Neighbour::of(address).await;
        let before = peak(&process);
        Self { address, process, before, neighbour, _upstream: upstream, _folder: folder }
    }

    /// How many files the process has open, connections among them.
    fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.pid())).expect("it runs").count()
    }

    async fn connect(&self) -> TcpStream {
        connect(self.address).await
    }

    /// A request whose answer is awaited: whatever came before the connection was closed.
    async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        // The edge may refuse before it has read all.
        let _refused = stream.write_all(request.as_ref()).await;
        let mut answer = Vec::new();
        let _closed_or_reset = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The neighbour was answered all the time, and the process took at most so much more memory, in bytes.
    async fn leaves_unharmed(self, growth: u64) {
        let (answers, worst) = self.neighbour.asked().await;
        let grown = peak(&self.process).saturating_sub(self.before);
        eprintln!("{answers} answers, the slowest after {worst:?}; {} KiB more memory", grown / 1024);
        assert!(answers > 0 && worst < UNHARMED, "{answers} answers, the slowest after {worst:?}");
        assert!(grown <= growth, "{} MiB more memory, {} allowed", grown / MIB, growth / MIB);
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the edge listens")
}

/// The most memory that a process had resident at any time, in bytes.
fn peak(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel reports it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Somebody who asks again and again, on a new connection now and then.
struct Neighbour {
    leaves: Arc<Notify>,
    asking: JoinHandle<(usize, Duration)>,
}

impl Neighbour {
    /// Begins to ask; has been answered once.
    async fn of(address: SocketAddr) -> Self {
        let (leaves, answered) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let asking = tokio::spawn(ask_on(address, Arc::clone(&leaves), Arc::clone(&answered)));
        answered.notified().await;
        Self { leaves, asking }
    }

    /// Ends the asking: the number of answers, and the longest time one took.
    async fn asked(self) -> (usize, Duration) {
        self.leaves.notify_one();
        self.asking.await.expect("every answer was right")
    }
}

async fn ask_on(address: SocketAddr, leaves: Arc<Notify>, answered: Arc<Notify>) -> (usize, Duration) {
    let url = format!("http://{address}/v1/shapes?text=hello");
    let (mut count, mut worst) = (0, Duration::ZERO);
    loop {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        for _ in 0..10 {
            let begin = Instant::now();
            let response = client.get(&url).send().await.expect("an answer");
            assert_eq!(response.status(), 200);
            assert_eq!(response.text().await.expect("a body"), r#"{"text":"hello"}"#);
            (count, worst) = (count + 1, worst.max(begin.elapsed()));
            answered.notify_one();
            let pause = Duration::from_millis(20);
            if tokio::time::timeout(pause, leaves.notified()).await.is_ok() {
                return (count, worst);
            }
        }
    }
}
