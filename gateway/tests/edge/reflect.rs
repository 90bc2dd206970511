//! A service that describes itself and changes: the edge serves what it describes now, without a restart and without a failed call.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use axum::{Router, extract::Request, routing::post};
use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status, Streaming, service::Routes, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_reflection::server::Builder;
use tower::ServiceExt as _;
use world::{Api, PATIENCE, Process, Program, eventually};

use crate::{
    foreign::{compiled, contract, encoded, rpc},
    upstream::{Upstream, echo},
};

const TAKEN: &str = "and that is served now";
const REFUSED: &str = "and what was served before still is";
const DISAGREE: &str = "endpoints of a service describe themselves differently";

/// A version of the service with these methods beside `Old` and `Watch`.
fn version(methods: &str) -> Bytes {
    let watch = "rpc Watch(M) returns (stream M) { option (google.api.http) = {get: \"/watch\"}; }";
    let service = format!("service S {{ {} {watch} {methods} }}", rpc("Old", "get: \"/old/{a}\""));
    encoded(compiled(&[("changing.proto", contract("changing.v1", "", &service))]).into_values())
}

fn first() -> Bytes {
    version(&rpc("Gone", "get: \"/gone\""))
}

fn second() -> Bytes {
    version(&rpc("New", "get: \"/new/{a}\""))
}

/// What a server says of itself, which can change while it runs.
#[derive(Clone)]
struct Description {
    reflection: Arc<Mutex<Router>>,
    /// How often it was asked.
    asked: Arc<AtomicUsize>,
}

fn reflection(set: &Bytes) -> Router {
    let builder = Builder::configure().register_encoded_file_descriptor_set(set);
    Routes::new(builder.build_v1().expect("descriptors")).into_axum_router()
}

impl Description {
    fn new(set: &Bytes) -> Self {
        Self { reflection: Arc::new(Mutex::new(reflection(set))), asked: Arc::default() }
    }

    fn change(&self, set: &Bytes) {
        *self.reflection.lock().expect("no panic") = reflection(set);
    }

    fn routes(&self) -> Routes {
        let this = self.clone();
        let asked = move |request: Request| {
            this.asked.fetch_add(1, Relaxed);
            let reflection = this.reflection.lock().expect("no panic").clone();
            reflection.oneshot(request)
        };
        Routes::from(Router::new().route("/grpc.reflection.v1.ServerReflection/{method}", post(asked)))
    }

    /// Waits until it was asked so many times more.
    async fn is_asked(&self, times: usize) -> Result<()> {
        let before = self.asked.load(Relaxed);
        eventually("further rounds", PATIENCE, async || {
            let asked = self.asked.load(Relaxed) - before;
            ensure!(asked >= times, "{asked}");
            Ok(())
        })
        .await
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

struct Edge {
    process: Process,
    url: String,
    api: Api,
    operator: Api,
}

impl Edge {
    async fn of(urls: &str) -> Result<Self> {
        let program = Program::at(Path::new(env!("CARGO_BIN_EXE_gateway")));
        let flags = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--threads", "2"];
        let flags = program.args(flags).args(["--reflect-every", "100ms", "--upstream", urls]);
        let mut process = flags.start()?;
        let url = format!("http://{}", process.address("http").await?);
        let operator = Api::new(format!("http://{}", process.address("admin").await?))?;
        Ok(Self { process, api: Api::new(url.clone())?, url, operator })
    }

    async fn status(&self, path: &str) -> Result<u16> {
        Ok(self.api.get(path).await?.status.as_u16())
    }

    async fn comes_to(&self, path: &str, status: u16) -> Result<()> {
        eventually(&format!("{status} of {path}"), PATIENCE, async || {
            let found = self.status(path).await?;
            ensure!(found == status, "{found}");
            Ok(())
        })
        .await
    }

    async fn says(&self, text: &str) -> Result<()> {
        eventually(&format!("{text:?} in the log"), PATIENCE, async || {
            ensure!(self.lines(text) > 0, "{}", self.process.output());
            Ok(())
        })
        .await
    }

    fn lines(&self, text: &str) -> usize {
        self.process.output().lines().filter(|line| line.contains(text)).count()
    }

    async fn metric(&self, line: &str) -> Result<()> {
        eventually(line, PATIENCE, async || {
            let metrics = self.operator.get("/metrics").await?.text;
            ensure!(metrics.lines().any(|found| found == line), "{metrics}");
            Ok(())
        })
        .await
    }

    /// The status of gRPC that a call of a method of the service ends with.
    async fn call(&self, method: &str) -> Result<String> {
        let client = reqwest::Client::builder().http2_prior_knowledge().build()?;
        let call = client.post(format!("{}/changing.v1.S/{method}", self.url));
        let answer = call.header("content-type", "application/grpc").body(vec![0; 5]).send().await?;
        let status = answer.headers().get("grpc-status").map(|status| status.to_str().map(str::to_owned));
        // That of a call that goes well comes behind its message.
        Ok(status.transpose()?.unwrap_or_else(|| "0".to_owned()))
    }
}

/// Clients that read without pause until they are stopped, each with connections of its own.
struct Load {
    stop: CancellationToken,
    clients: Vec<JoinHandle<Result<usize>>>,
}

impl Load {
    fn on(edge: &Edge) -> Self {
        let stop = CancellationToken::new();
        let client = |number: usize| {
            let (stop, url) = (stop.clone(), format!("{}/old/{number}", edge.url));
            tokio::spawn(async move {
                let (client, mut calls) = (reqwest::Client::new(), 0);
                while !stop.is_cancelled() {
                    let answer = client.get(&url).send().await?;
                    let (status, text) = (answer.status(), answer.text().await?);
                    ensure!(status == 200 && text == format!(r#"{{"a":"{number}"}}"#), "{status}: {text}");
                    calls += 1;
                }
                Ok(calls)
            })
        };
        let clients = (0..8).map(client).collect();
        Self { stop, clients }
    }

    /// Ends it: no call has failed.
    async fn end(self) -> Result<()> {
        self.stop.cancel();
        for client in join_all(self.clients).await {
            let calls = client??;
            ensure!(calls > 10, "{calls} calls");
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_has_changed_is_served_without_a_restart() -> Result<()> {
    let description = Description::new(&first());
    let (messages, sent) = mpsc::unbounded_channel::<Result<Bytes, Status>>();
    let sent = Mutex::new(Some(sent));
    let upstream = Upstream::beside(description.routes(), listener().await, move |call| {
        let sent = call.path.ends_with("/Watch").then(|| sent.lock().expect("no panic").take()).flatten();
        async move {
            match sent {
                Some(sent) => Ok(Response::new(UnboundedReceiverStream::new(sent).boxed())),
                None => echo(&call),
            }
        }
    });
    let edge = Edge::of(&upstream.url()).await?;
    // A stream, which goes on as it began.
    messages.send(Ok(Bytes::from_static(b"\x0a\x03one")))?;
    let watch = reqwest::Client::new().get(format!("{}/watch", edge.url));
    let mut watch = watch.header("accept", "application/x-ndjson").send().await?;
    ensure!(watch.chunk().await?.as_deref() == Some(&b"{\"a\":\"one\"}\n"[..]));
    let load = Load::on(&edge);
    ensure!(edge.status("/gone").await? == 200 && edge.status("/new/x").await? == 404);
    ensure!(edge.call("Gone").await? == "0" && edge.call("New").await? == "12");
    description.is_asked(3).await?;
    ensure!(edge.lines(TAKEN) == 0, "nothing has changed: {}", edge.process.output());

    description.change(&second());
    edge.says(TAKEN).await?;
    // On all threads: each connection is on one of them.
    for _ in 0..20 {
        let fresh = reqwest::Client::new();
        for (path, status) in [("/new/x", 200), ("/gone", 404), ("/old/x", 200)] {
            let found = fresh.get(format!("{}{path}", edge.url)).send().await?.status();
            ensure!(found == status, "{path}: {found}");
        }
    }
    ensure!(edge.call("Gone").await? == "12" && edge.call("New").await? == "0");
    for document in ["/openapi.json", "/openapi/changing.json"] {
        let paths = edge.api.get(document).await?.body["paths"].clone();
        let paths: Vec<&String> = paths.as_object().context("paths")?.keys().collect();
        ensure!(paths == ["/old/{a}", "/watch", "/new/{a}"], "{paths:?}");
    }
    messages.send(Ok(Bytes::from_static(b"\x0a\x03two")))?;
    ensure!(watch.chunk().await?.as_deref() == Some(&b"{\"a\":\"two\"}\n"[..]));
    edge.metric("gateway_upstream_descriptor_changes_total{outcome=\"taken\"} 1").await?;
    // And back.
    description.change(&first());
    edge.comes_to("/gone", 200).await?;
    load.end().await
}

#[tokio::test]
async fn a_broken_version_leaves_the_old_one_and_is_reported_once() -> Result<()> {
    let description = Description::new(&first());
    let upstream = Upstream::beside(description.routes(), listener().await, async |call| echo(&call));
    let edge = Edge::of(&upstream.url()).await?;
    let load = Load::on(&edge);
    let bad = version(&rpc("Bad", "get: \"/f/**/g\""));
    let none = contract("changing.v1", "", "service S { rpc Old(M) returns (M); }");
    let none = encoded(compiled(&[("changing.proto", none)]).into_values());
    for (number, broken) in [(1, bad), (2, none)] {
        description.change(&broken);
        edge.metric(&format!("gateway_upstream_descriptor_changes_total{{outcome=\"refused\"}} {number}"))
            .await?;
        description.is_asked(5).await?;
        ensure!(edge.lines(REFUSED) == number, "{}", edge.process.output());
        ensure!(edge.status("/gone").await? == 200);
    }
    edge.says("changing.v1.S.Bad: ").await?;
    description.change(&second());
    edge.comes_to("/new/x", 200).await?;
    load.end().await
}

/// The shop is there as long as what it calls is.
#[tokio::test]
async fn the_shop_comes_and_goes_with_our_contract() -> Result<()> {
    let description = Description::new(&first());
    let upstream = Upstream::beside(description.routes(), listener().await, async |call| echo(&call));
    let edge = Edge::of(&upstream.url()).await?;
    ensure!(edge.status("/shop/").await? == 404);
    ensure!(edge.api.get("/").await?.body["shop"].is_null());
    description.change(&Bytes::from_static(ordermesh::DESCRIPTOR_SET));
    edge.comes_to("/shop/", 200).await?;
    ensure!(edge.api.get("/").await?.body["shop"] == "shop/");
    description.change(&first());
    edge.comes_to("/shop/", 404).await
}

/// What a watch of health says next.
pub(crate) async fn next(answers: &mut Streaming<HealthCheckResponse>) -> Result<ServingStatus> {
    let answer = tokio::time::timeout(PATIENCE, answers.message()).await.context("nothing new")??;
    Ok(answer.context("the watch has ended")?.status())
}

/// They go on as they began, and learn that a service is served now, or no more.
#[tokio::test]
async fn watches_of_health_follow_what_is_served() -> Result<()> {
    let description = Description::new(&first());
    let upstream = Upstream::beside(description.routes(), listener().await, async |call| echo(&call));
    let edge = Edge::of(&upstream.url()).await?;
    let mut client = HealthClient::new(Channel::from_shared(edge.url.clone())?.connect().await?);
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let mut theirs = client.watch(of("changing.v1.S")).await?.into_inner();
    let mut ours = client.watch(of("ordermesh.orders.v1.OrdersService")).await?.into_inner();
    for (theirs_now, ours_now, set) in [
        (
            ServingStatus::Serving,
            ServingStatus::ServiceUnknown,
            Bytes::from_static(ordermesh::DESCRIPTOR_SET),
        ),
        (ServingStatus::ServiceUnknown, ServingStatus::Serving, first()),
        (ServingStatus::Serving, ServingStatus::ServiceUnknown, first()),
    ] {
        ensure!(next(&mut theirs).await? == theirs_now && next(&mut ours).await? == ours_now);
        description.change(&set);
    }
    Ok(())
}

/// Two servers are replaced one after the other, as in a rollout.
#[tokio::test]
async fn replicas_that_disagree_are_reported_and_taken_when_they_agree() -> Result<()> {
    let server = |listener, set: &Bytes| {
        Upstream::beside(Description::new(set).routes(), listener, async |call| echo(&call))
    };
    let (one, other) = (server(listener().await, &first()), server(listener().await, &first()));
    let edge = Edge::of(&format!("{},{}", one.url(), other.url())).await?;
    let load = Load::on(&edge);
    let (first_address, second_address) = (one.address, other.address);
    one.end().await;
    let one = server(TcpListener::bind(first_address).await?, &second());
    edge.says(DISAGREE).await?;
    let output = edge.process.output();
    let line = output.lines().find(|line| line.contains(DISAGREE)).context("the line")?;
    for address in [first_address, second_address] {
        ensure!(line.contains("WARN") && line.contains(&address.to_string()), "{line}");
    }
    edge.metric("gateway_upstream_descriptor_versions 2").await?;
    ensure!(edge.status("/new/x").await? == 404 && edge.status("/gone").await? == 200);
    other.end().await;
    let _other = server(TcpListener::bind(second_address).await?, &second());
    edge.comes_to("/new/x", 200).await?;
    edge.metric("gateway_upstream_descriptor_versions 1").await?;
    ensure!(edge.lines(DISAGREE) == 1, "{}", edge.process.output());
    tokio::time::timeout(Duration::from_secs(60), load.end()).await??;
    drop(one);
    Ok(())
}
