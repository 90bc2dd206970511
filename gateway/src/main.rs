//! The separate process `gateway`.

use std::{
    collections::BTreeMap, io, net::SocketAddr, num::NonZeroUsize, process::ExitCode,
    thread::available_parallelism,
};

use anyhow::Context as _;
use auth::Verifier;
use chassis::{
    admin::{self, HostSettings},
    lifecycle::{Lifecycle, Stage},
    readiness::{Part, Readiness, State},
    settings::{Checked, ConfigErrors},
    signals::Signals,
    start,
    telemetry::{self, LogSettings},
};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, pending},
};
use gateway::{
    Config, Edge, Settings, Trust,
    discovery::{self, Progress},
};
use mimalloc::MiMalloc;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Builder,
    sync::watch,
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

/// Each request allocates a hundred times, three times more than a kilobyte, at which that of the C library collects what is free.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Connections that the system holds until they are accepted: many come at once when another edge has gone.
const BACKLOG: u32 = 4_096;

/// Flags, with an environment variable each.
#[derive(Debug, clap::Parser)]
#[command(name = "gateway", version, about = "The edge: HTTP/JSON in, gRPC out")]
struct Arguments {
    /// What to do other than serving
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    edge: Settings,
    /// Where /livez and /readyz are served
    #[arg(long, env = "ADMIN_LISTEN", default_value = "127.0.0.1:9090", global = true)]
    admin: Checked<SocketAddr>,
    #[command(flatten)]
    hosts: HostSettings,
    /// How many threads serve, each with connections of its own to the services [default: one for each processor]
    #[arg(long, env = "GATEWAY_THREADS")]
    threads: Option<Checked<NonZeroUsize>>,
    #[command(flatten)]
    logs: LogSettings,
}

/// What the binary does other than serving.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum Command {
    /// Asks the running process whether it is ready: exit status 0 or 1
    Healthcheck,
}

fn main() -> ExitCode {
    let runtime = Builder::new_current_thread().enable_all().build().context("there is no runtime");
    let arguments = start::parse();
    let ended = runtime.and_then(|runtime| start::block_on(runtime, run(arguments)));
    start::exit(ended.map(|()| ExitCode::SUCCESS))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    // Nothing of this takes long: what does, runs as a task, and what takes the processor for long beside this thread.
    let signals = Signals::install()?;
    let Arguments { command, edge, admin, hosts, threads, logs } = arguments;
    let _telemetry = telemetry::init(logs, "gateway")?;
    let mut errors = ConfigErrors::default();
    let admin = admin.take("--admin", &mut errors);
    if let Some(Command::Healthcheck) = command {
        return admin::healthcheck(errors.or(admin)?, edge.tls.itself().as_ref());
    }
    let threads = threads.and_then(|threads| threads.take("--threads", &mut errors));
    let threads = threads.or_else(|| available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let hosts = hosts.check(&mut errors);
    let source = Source::of(edge).map_err(|others| errors.extend(others)).ok();
    if let Some(source) = &source {
        source.config.auth.check_address("--admin", admin, &mut errors);
        if errors.count() > 0 {
            source.check(&mut errors);
        }
    }
    let (admin, source) = errors.or(admin.zip(source))?;
    source.config.auth.announce();
    let socket = socket(source.config.listen).context("cannot listen for HTTP")?;
    let admin_listener = TcpListener::bind(admin).await.context("cannot listen for the operator")?;
    admin::announce(&[("admin", admin_listener.local_addr()?)]);
    let (progress, seen) = watch::channel(if source.is_asked { Progress::Asking } else { Progress::Reading });
    let mut life = Lifecycle::new();
    let issuer = source.config.issuer.as_ref().map(Verifier::part);
    let trust = Trust::default();
    let parts = issuer.into_iter().chain([known(source.upstreams.clone(), seen), trust.part()]).collect();
    let readiness = Readiness::start(parts, &mut life);
    let admin_tls = source.config.admin_tls.clone();
    let followed = Followed { progress, trust, readiness: readiness.clone() };
    life.spawn(Stage::Operator, "admin", |stop| {
        admin::serve(admin_listener, admin_tls, hosts, vec![readiness], axum::Router::new(), stop)
    });
    life.spawn(Stage::Edge, "edge", |stop| serve(socket, source, threads, followed, stop));
    life.run(signals).await
}

/// What the edge is made of.
struct Source {
    config: Box<Config>,
    /// The URLs of its services.
    upstreams: String,
    /// Whether they are asked for their descriptors.
    is_asked: bool,
}

impl Source {
    fn of(settings: Settings) -> Result<Self, ConfigErrors> {
        let is_asked = settings.discovers().is_some();
        let ours = || format!("{}, {}", settings.orders_url, settings.payments_url);
        let upstreams = settings.upstream.clone().unwrap_or_else(ours);
        match Edge::values(settings.clone()) {
            Ok(config) => Ok(Self { config: Box::new(config), upstreams, is_asked }),
            Err(errors) if is_asked => Err(errors),
            // What is wrong with descriptors that are at hand is said as well.
            Err(errors) => Err(Edge::build(settings).err().unwrap_or(errors)),
        }
    }

    /// Notes what is wrong with descriptors that are at hand.
    fn check(&self, errors: &mut ConfigErrors) {
        if !self.is_asked
            && let Err(others) = Edge::from_config(Config::clone(&self.config))
        {
            errors.extend(others);
        }
    }

    /// The edge, and what keeps its routes up to date.
    async fn edge(
        self,
        progress: &watch::Sender<Progress>,
    ) -> anyhow::Result<(Edge, BoxFuture<'static, ()>)> {
        let Self { config, upstreams, is_asked } = self;
        if !is_asked {
            let edge = spawn_blocking(move || Edge::from_config(*config)).await??;
            return Ok((edge, pending().boxed()));
        }
        let edge = discovery::edge(&upstreams, &config, progress).await.map_err(anyhow::Error::msg)?;
        let following = discovery::follow(&edge, &upstreams).map_err(anyhow::Error::msg)?;
        Ok((edge, following.boxed()))
    }
}

/// The port is taken at the start, but nobody is let in before there are routes: a client is refused, and does not wait.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// It keeps nothing: an edge that has its routes is ready, whatever is behind it.
fn known(upstreams: String, progress: watch::Receiver<Progress>) -> Part {
    Part::known("routes", move || match *progress.borrow() {
        Progress::Asking => {
            State::Failed(format!("{upstreams} has not described anything that can be served"))
        }
        Progress::Reading => State::Failed(format!("the descriptors of {upstreams} are being read")),
        Progress::Serving => State::Ok,
    })
}

/// Who is to know how the edge is, and from whom it knows how the process is.
struct Followed {
    progress: watch::Sender<Progress>,
    trust: Trust,
    readiness: Readiness,
}

async fn serve(
    socket: TcpSocket,
    source: Source,
    threads: usize,
    Followed { progress, trust, readiness }: Followed,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (edge, following) = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        edge = source.edge(&progress) => edge?,
    };
    edge.follow(vec![readiness], BTreeMap::new());
    trust.follow(&edge);
    let listener = socket.listen(BACKLOG).context("cannot listen for HTTP")?;
    admin::announce(&[("http", listener.local_addr()?)]);
    progress.send_replace(Progress::Serving);
    tokio::select! {
        served = gateway::serve_on_threads(listener, edge, threads, stop) => served,
        () = following => Ok(()),
    }
}
