//! Proxies and caches in front of the edge, with the settings that their packages come with: nothing is held back, and nothing is served
//! after it has changed.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use ordermesh::orders::v1::{
    CreateOrderRequest, Order, WatchOrderRequest, order::Status, orders_service_client::OrdersServiceClient,
};
use serde_json::json;
use tokio::time::timeout;
use world::{Api, PATIENCE, Port, Process, Program, Scratch, eventually};

use crate::mesh::{EMBEDDED, Mesh};

/// A proxy in front of a mesh, and the mesh.
struct Fronted {
    mesh: Mesh,
    proxy: Process,
    /// Where it takes HTTP/1.1.
    api: Api,
    /// Where it takes gRPC.
    calls: Port,
    _port: Port,
    _scratch: Scratch,
}

impl Fronted {
    /// Starts a proxy with the arguments that `configured` makes of a folder, the ports to listen on for HTTP/1.1 and for gRPC, and the
    /// address of the edge.
    async fn start(
        program: &str,
        configured: impl FnOnce(&Path, [u16; 2], &str) -> Result<Vec<String>>,
    ) -> Result<Self> {
        let (mesh, scratch) = (Mesh::start(EMBEDDED).await?, Scratch::new("proxy")?);
        let (port, calls) = (Port::reserve()?, Port::reserve()?);
        // Its workers give up root.
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777))?;
        let edge = mesh.api.base().trim_start_matches("http://").to_owned();
        let arguments = configured(scratch.path(), [port.number(), calls.number()], &edge)?;
        let path = Path::new("/usr/sbin").join(program);
        ensure!(path.is_file(), "{} is missing: run scripts/setup", path.display());
        let proxy = Program::at(&path).args(arguments).start()?;
        let listens = async || anyhow::Ok(std::net::TcpStream::connect(port.address())?);
        eventually(program, PATIENCE, listens).await.with_context(|| proxy.output())?;
        let api = Api::new(format!("http://{}", port.address()))?;
        Ok(Self { mesh, proxy, api, calls, _port: port, _scratch: scratch })
    }

    async fn nginx() -> Result<Self> {
        Self::start("nginx", |folder, [port, calls], edge| {
            let at = folder.display();
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
                .concat();
            let text = format!(
                "daemon off;\nerror_log stderr;\npid {at}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
                 server {{\nlisten 127.0.0.1:{port};\nlocation / {{ proxy_pass http://{edge}; }}\n}}\n\
                 server {{\nlisten 127.0.0.1:{calls} http2;\nlocation / {{ grpc_pass grpc://{edge}; }}\n}}\n}}\n"
            );
            let file = folder.join("nginx.conf");
            fs::write(&file, text)?;
            Ok(vec!["-c".to_owned(), file.display().to_string(), "-p".to_owned(), at.to_string()])
        })
        .await
    }

    async fn haproxy() -> Result<Self> {
        Self::start("haproxy", |folder, [port, calls], edge| {
            // The times of Debian's own file, in milliseconds.
            let text = format!(
                "defaults\nmode http\ntimeout connect 5000\ntimeout client 50000\ntimeout server 50000\n\
                 listen edge\nbind 127.0.0.1:{port}\nserver edge {edge}\n\
                 listen calls\nbind 127.0.0.1:{calls} proto h2\nserver edge {edge} proto h2\n"
            );
            let file = folder.join("haproxy.cfg");
            fs::write(&file, text)?;
            Ok(vec!["-db".to_owned(), "-f".to_owned(), file.display().to_string()])
        })
        .await
    }

    async fn varnish() -> Result<Self> {
        Self::start("varnishd", |folder, [port, _], edge| {
            let at = folder.join("varnish").display().to_string();
            let listen = format!("127.0.0.1:{port}");
            let arguments = ["-F", "-a", &listen, "-b", edge, "-n", &at, "-s", "malloc,32m"];
            Ok(arguments.map(str::to_owned).to_vec())
        })
        .await
    }

    /// What is read after a write is what was written, as often as it changes; so is what was not there before.
    async fn reads_are_never_stale(&self) -> Result<()> {
        for user in ["alice", "bob"] {
            let path = format!("/gateway/payments/{user}");
            for _ in 0..2 {
                let absent = self.api.get(&path).await?;
                ensure!(absent.status == 404, "{} {}", absent.status, absent.text);
            }
            let opened = self.api.post("/gateway/payments", &json!({ "userId": user })).await?;
            ensure!(opened.status == 200, "{} {}", opened.status, opened.text);
            for balance in ["0", "5", "10"] {
                for _ in 0..2 {
                    let account = self.api.get(&path).await?;
                    let shown = account.body["balance"].as_str().unwrap_or("0");
                    ensure!(account.status == 200 && shown == balance, "{balance}: {}", account.text);
                }
                let topped_up = self.api.post(&format!("{path}/top-up"), &json!({ "amount": 5 })).await?;
                ensure!(topped_up.status == 200, "{} {}", topped_up.status, topped_up.text);
            }
        }
        Ok(())
    }

    /// A watch shows what happens when it happens, although it goes on.
    async fn watches_are_live(&self) -> Result<()> {
        self.mesh.account("carol", 100).await?;
        let request = self.api.request(reqwest::Method::GET, "/gateway/orders:watch?userId=carol");
        let mut watch = timeout(PATIENCE, request.header("accept", "text/event-stream").send()).await??;
        ensure!(watch.status() == 200, "{}", watch.status());
        let mut seen = String::new();
        for order in 1..=3 {
            let id = self.mesh.order("carol", 1).await?;
            let event = async {
                while !(seen.contains(&id) && seen.matches("FINISHED").count() == order) {
                    let Some(part) = watch.chunk().await? else { bail!("the watch has ended: {seen}") };
                    seen.push_str(std::str::from_utf8(&part)?);
                }
                Ok(())
            };
            timeout(PATIENCE, event)
                .await
                .with_context(|| format!("order {order} was not seen: {seen:?}"))??;
        }
        Ok(())
    }

    /// An order is placed by gRPC and watched to its end.
    async fn calls_are_made(&self) -> Result<()> {
        self.mesh.account("erin", 7).await?;
        let mut client = OrdersServiceClient::connect(format!("http://{}", self.calls.address())).await?;
        let order = Order { user_id: "erin".into(), amount: 7, ..Order::default() };
        let request = CreateOrderRequest { order: Some(order), ..CreateOrderRequest::default() };
        let order_id = client.create_order(request).await?.into_inner().id;
        let mut events =
            client.watch_order(WatchOrderRequest { order_id, after_version: 0 }).await?.into_inner();
        let mut last = None;
        while let Some(event) = timeout(PATIENCE, events.message()).await?? {
            last = event.order.map(|order| order.status());
        }
        ensure!(last == Some(Status::Finished), "{last:?}");
        Ok(())
    }

    /// A watch lives through silence that is longer than a proxy waits by default.
    async fn silence_is_survived(&self, silence: Duration) -> Result<()> {
        self.mesh.account("dave", 100).await?;
        let request = self.api.request(reqwest::Method::GET, "/gateway/orders:watch?userId=dave");
        let mut watch = request.header("accept", "text/event-stream").send().await?;
        let begun = tokio::time::Instant::now();
        let mut seen = String::new();
        while begun.elapsed() < silence {
            let part = timeout(PATIENCE, watch.chunk()).await?.context(self.proxy.output())?;
            seen.push_str(std::str::from_utf8(&part.context("the watch has ended")?)?);
        }
        ensure!(seen.contains(": heartbeat\n") && !seen.contains("event:"), "{seen}");
        Ok(())
    }
}

#[tokio::test]
async fn nginx_holds_nothing_back() -> Result<()> {
    let fronted = Fronted::nginx().await?;
    fronted.watches_are_live().await?;
    fronted.reads_are_never_stale().await?;
    fronted.calls_are_made().await
}

#[tokio::test]
async fn haproxy_passes_streams_and_calls() -> Result<()> {
    let fronted = Fronted::haproxy().await?;
    fronted.watches_are_live().await?;
    fronted.reads_are_never_stale().await?;
    fronted.calls_are_made().await?;
    fronted.silence_is_survived(Duration::from_secs(35)).await
}

#[tokio::test]
async fn varnish_serves_no_balance_that_has_changed() -> Result<()> {
    let fronted = Fronted::varnish().await?;
    fronted.reads_are_never_stale().await?;
    fronted.watches_are_live().await
}
