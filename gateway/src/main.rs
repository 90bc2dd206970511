//! The separate process `gateway`.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::available_parallelism,
};

use anyhow::Context as _;
use auth::Verifier;
use chassis::{
    admin,
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
use gateway::{Config, Edge, Settings, discovery};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Builder,
};
use tokio_util::sync::CancellationToken;

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
    // Nothing of the start takes long: what does, runs as a task.
    let signals = Signals::install()?;
    let Arguments { command, edge, admin, threads, logs } = arguments;
    let _telemetry = telemetry::init(logs, "gateway")?;
    let mut errors = ConfigErrors::default();
    let admin = admin.take("--admin", &mut errors);
    if let Some(Command::Healthcheck) = command {
        return admin::healthcheck(errors.or(admin)?, edge.tls.itself().as_ref());
    }
    let threads = threads.and_then(|threads| threads.take("--threads", &mut errors));
    let threads = threads.or_else(|| available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let source = Source::of(edge).map_err(|others| errors.extend(others)).ok();
    if let Some(source) = &source {
        source.config().auth.check_address("--admin", admin, &mut errors);
    }
    let (admin, source) = errors.or(admin.zip(source))?;
    source.config().auth.announce();
    let socket = socket(source.config().listen).context("cannot listen for HTTP")?;
    let admin_listener = TcpListener::bind(admin).await.context("cannot listen for the operator")?;
    admin::announce(&[("admin", admin_listener.local_addr()?)]);
    let routes = Arc::new(AtomicBool::new(false));
    let mut life = Lifecycle::new();
    let issuer = source.config().issuer.as_ref().map(Verifier::part);
    let parts = issuer.into_iter().chain([known(Arc::clone(&routes))]).collect();
    let readiness = Readiness::start(parts, &mut life);
    let admin_tls = source.config().admin_tls.clone();
    let follows = readiness.clone();
    life.spawn(Stage::Operator, "admin", |stop| {
        admin::serve(admin_listener, admin_tls, vec![readiness], axum::Router::new(), stop)
    });
    life.spawn(Stage::Edge, "edge", |stop| serve(socket, source, threads, routes, follows, stop));
    life.run(signals).await
}

/// What the edge is made of.
enum Source {
    /// All that there is to know.
    Known(Box<Edge>),
    /// Values whose descriptors the service has, and its URL.
    Undiscovered(Box<Config>, String),
}

impl Source {
    fn of(settings: Settings) -> Result<Self, ConfigErrors> {
        match settings.discovers().map(str::to_owned) {
            Some(url) => Ok(Self::Undiscovered(Box::new(Edge::undiscovered(settings)?), url)),
            None => Edge::build(settings).map(|edge| Self::Known(Box::new(edge))),
        }
    }

    fn config(&self) -> &Config {
        match self {
            Self::Known(edge) => edge.config(),
            Self::Undiscovered(config, _) => config,
        }
    }

    /// The edge, and what keeps its routes up to date.
    async fn edge(self) -> anyhow::Result<(Edge, BoxFuture<'static, ()>)> {
        match self {
            Self::Known(edge) => Ok((*edge, pending().boxed())),
            Self::Undiscovered(config, url) => {
                let edge = discovery::edge(&url, &config).await.map_err(anyhow::Error::msg)?;
                let following = discovery::follow(&edge, &url).map_err(anyhow::Error::msg)?;
                Ok((edge, following.boxed()))
            }
        }
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
fn known(routes: Arc<AtomicBool>) -> Part {
    Part::known("routes", move || {
        if routes.load(Ordering::Relaxed) {
            return State::Ok;
        }
        State::Failed("the service has not described anything that can be served".to_owned())
    })
}

async fn serve(
    socket: TcpSocket,
    source: Source,
    threads: usize,
    routes: Arc<AtomicBool>,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (edge, following) = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        edge = source.edge() => edge?,
    };
    edge.follow(vec![readiness], BTreeMap::new());
    let listener = socket.listen(BACKLOG).context("cannot listen for HTTP")?;
    admin::announce(&[("http", listener.local_addr()?)]);
    routes.store(true, Ordering::Relaxed);
    tokio::select! {
        served = gateway::serve_on_threads(listener, edge, threads, stop) => served,
        () = following => Ok(()),
    }
}
