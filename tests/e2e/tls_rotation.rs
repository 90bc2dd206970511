//! Certificates, keys and authorities change while clients call: nobody notices but those who are no longer let in.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{sleep, timeout},
};
use world::{Certificates, PATIENCE, Port, Process, Program, Scratch, eventually};

use crate::tls_peers::{curl, flags, health, post, s_client};

/// A folder of files as Kubernetes mounts a secret: each is a link into the version that one link leads to, which is swapped.
struct Mount {
    folder: PathBuf,
    version: u32,
}

impl Mount {
    fn new(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, version: 0 })
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Shows these files and no others.
    fn show(&mut self, files: &[(&str, Vec<u8>)]) -> Result<()> {
        self.version += 1;
        let version = format!("..{}", self.version);
        fs::create_dir(self.folder.join(&version))?;
        for (name, content) in files {
            fs::write(self.folder.join(&version).join(name), content)?;
            let link = self.folder.join(name);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(name), link)?;
            }
        }
        symlink(&version, self.folder.join("..next"))?;
        Ok(fs::rename(self.folder.join("..next"), self.folder.join("..data"))?)
    }

    /// Shows the authorities of these, and a certificate of the last.
    fn certify(&mut self, authorities: &[&Certificates], shown: &Certificates, name: &str) -> Result<()> {
        let read = |certificates: &Certificates, file: &str| fs::read(certificates.file(file));
        let authorities: std::io::Result<Vec<_>> =
            authorities.iter().map(|certificates| read(certificates, "ca.crt")).collect();
        let [cert, key] = ["crt", "key"].map(|kind| read(shown, &format!("{name}.{kind}")));
        let [own, own_key] = ["crt", "key"].map(|kind| format!("{name}.{kind}"));
        self.show(&[("ca.crt", authorities?.concat()), (&own, cert?), (&own_key, key?)])
    }
}

/// Clients that go on calling.
struct Load {
    _process: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Load {
    fn start(url: &str, folder: &Path) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut load = Command::new(root.join("../target/tools/python/bin/python"));
        load.arg(root.join("e2e/tls_load.py")).arg(url).arg(folder).kill_on_drop(true);
        let mut process = load.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let lines = BufReader::new(output.context("its output")?).lines();
        Ok(Self { _process: process, input: input.context("its input")?, lines })
    }

    /// What it has seen so far.
    async fn seen(&mut self) -> Result<Value> {
        self.input.write_all(b"\n").await?;
        self.line().await
    }

    async fn line(&mut self) -> Result<Value> {
        let line = timeout(PATIENCE, self.lines.next_line()).await??;
        let seen: Value = serde_json::from_str(&line.context("the clients have ended")?)?;
        ensure!(seen["failed"] == serde_json::json!([]), "{seen:#}");
        Ok(seen)
    }

    /// Waits until some more calls are answered, and none is not.
    async fn more(&mut self) -> Result<()> {
        let answered = |seen: &Value| seen["answered"].as_u64().unwrap_or_default();
        let before = answered(&self.seen().await?);
        timeout(PATIENCE, async {
            while answered(&self.seen().await?) < before + 100 {
                sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        })
        .await
        .context("hardly anything was answered")?
    }

    /// What all have seen when they have ended.
    async fn end(mut self) -> Result<Value> {
        self.input.shutdown().await?;
        drop(self.input);
        let line = timeout(PATIENCE, self.lines.next_line()).await??;
        let seen: Value = serde_json::from_str(&line.context("a last line")?)?;
        ensure!(seen["failed"] == serde_json::json!([]), "{seen:#}");
        Ok(seen)
    }
}

/// The edge and payments, each with certificates of its own folder, and each wants them of its clients.
struct Secured {
    gateway: Process,
    payments: Process,
    payments_program: Program,
    edge: String,
    gateway_admin: String,
    payments_admin: String,
    _port: Port,
}

impl Secured {
    async fn start(folder: &Path, gateway: &Mount, payments: &Mount) -> Result<Self> {
        let (port, nobody) = (Port::reserve()?, Port::reserve()?);
        let payments_program = Program::named("payments")?
            .args(["--listen", &port.address().to_string(), "--admin", "127.0.0.1:0"])
            .env("DATABASE_URL", format!("sqlite:{}/payments.db", folder.display()))
            .env("AMQP_URL", format!("amqp://guest:guest@{}/%2f", nobody.address()))
            .env("TLS_CERT", payments.file("payments.crt"))
            .env("TLS_KEY", payments.file("payments.key"))
            .env("TLS_CLIENT_CA", payments.file("ca.crt"))
            .env("TLS_CLIENT_SAN", "spiffe://ordermesh/gateway");
        let mut payments = payments_program.start()?;
        let payments_admin = format!("https://{}", payments.address("admin").await?);
        let mut gateway = Program::named("gateway")?
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--payments-url", &format!("https://localhost:{}", port.number())])
            .args(["--orders-url", &format!("https://localhost:{}", nobody.number())])
            .env("TLS_CERT", gateway.file("gateway.crt"))
            .env("TLS_KEY", gateway.file("gateway.key"))
            .env("TLS_CLIENT_CA", gateway.file("ca.crt"))
            .env("TLS_CLIENT_SAN", "client")
            .env("UPSTREAM_CA", gateway.file("ca.crt"))
            .env("UPSTREAM_CERT", gateway.file("gateway.crt"))
            .env("UPSTREAM_KEY", gateway.file("gateway.key"))
            .start()?;
        let edge = format!("https://localhost:{}", gateway.address("http").await?.port());
        let gateway_admin = format!("https://{}", gateway.address("admin").await?);
        Ok(Self { gateway, payments, payments_program, edge, gateway_admin, payments_admin, _port: port })
    }

    /// Waits until each process has taken so many changes of its files.
    async fn taken(&self, flags: &[String], changes: u32) -> Result<()> {
        for (admin, purpose) in [
            (&self.gateway_admin, "public"),
            (&self.gateway_admin, "upstream"),
            (&self.payments_admin, "public"),
        ] {
            self.counted(flags, admin, &format!(r#"{{purpose="{purpose}",outcome="taken"}} {changes}"#))
                .await?;
        }
        Ok(())
    }

    async fn counted(&self, flags: &[String], admin: &str, line: &str) -> Result<()> {
        eventually(line, PATIENCE, async || {
            let said = curl(flags, &format!("{admin}/metrics")).await?;
            ensure!(said.body.contains(&format!("tls_reloads_total{line}\n")), "{said:?}");
            anyhow::Ok(())
        })
        .await
    }
}

/// Both authorities, then certificates of the new one, then the new authority alone.
#[tokio::test]
async fn an_authority_and_all_its_certificates_are_replaced_under_load() -> Result<()> {
    let (old, new) = (Certificates::make().await?, Certificates::make().await?);
    let scratch = Scratch::new("rotation")?;
    let mount = |name: &str| Mount::new(scratch.path().join(name));
    let mut mounts =
        [("gateway", mount("gateway")?), ("payments", mount("payments")?), ("client", mount("client")?)];
    let show = |mounts: &mut [(&str, Mount)], authorities: &[&Certificates], shown: &Certificates| {
        mounts.iter_mut().try_for_each(|(name, mount)| mount.certify(authorities, shown, name))
    };
    show(&mut mounts, &[&old], &old)?;
    let mut mesh = Secured::start(scratch.path(), &mounts[0].1, &mounts[1].1).await?;
    let client = mounts[2].1.folder.clone();
    let both = ["ca.crt", "client.crt", "client.key"].map(|name| client.join(name).display().to_string());
    let flags_now = ["--cacert", &both[0], "--cert", &both[1], "--key", &both[2]].map(str::to_owned);
    let opened =
        post(&flags_now, &format!("{}/gateway/payments", mesh.edge), r#"{"userId":"alice"}"#).await?;
    ensure!(opened.status == 200, "{opened:?} {}", mesh.gateway.output());

    let account = format!("{}/gateway/payments/alice", mesh.edge);
    let mut load = Load::start(&account, &client)?;
    load.more().await?;
    for (number, (authorities, shown)) in
        [(&[&old, &new][..], &old), (&[&old, &new], &new), (&[&new], &new)].into_iter().enumerate()
    {
        // Clients trust the new authority before anybody shows a certificate of it.
        if number == 0 {
            show(&mut mounts[2..], authorities, shown)?;
        }
        show(&mut mounts[..2], authorities, shown)?;
        mesh.taken(&flags_now, u32::try_from(number)? + 1).await?;
        show(&mut mounts[2..], authorities, shown)?;
        load.more().await?;
    }
    // And the edge reaches a service that has seen nothing of the old one.
    mesh.payments.kill9().await?;
    mesh.payments = mesh.payments_program.start()?;
    mesh.payments.address("payments-grpc").await?;
    eventually("the service again", PATIENCE, async || {
        let said = curl(&flags_now, &account).await?;
        ensure!(said.status == 200, "{said:?}");
        anyhow::Ok(())
    })
    .await?;
    let seen = load.end().await?;
    ensure!(seen["shown"].as_array().is_some_and(|shown| shown.len() == 2), "{seen:#}");

    let outdated = flags(&new, Some((&old, "client")));
    let said = curl(&outdated, &account).await?;
    ensure!(said.status == 0, "{said:?}");
    let grpc = mesh.payments.address("payments-grpc").await?;
    ensure!(health(grpc, &new, Some((&old, "gateway"))).await?.starts_with("UNAVAILABLE"));
    ensure!(health(grpc, &new, Some((&new, "gateway"))).await? == "SERVING");
    Ok(())
}

/// What cannot be used changes nothing, is said, and is made good by the next change.
#[tokio::test]
async fn broken_files_leave_those_before_in_use() -> Result<()> {
    let certificates = Certificates::make().await?;
    certificates.issue("short", "DNS:localhost,IP:127.0.0.1", ["20200101", "20371231"])?;
    let scratch = Scratch::new("broken")?;
    let at = |name: &str| scratch.path().join(name).display().to_string();
    for kind in ["crt", "key"] {
        fs::copy(certificates.file(&format!("gateway.{kind}")), at(&format!("own.{kind}")))?;
    }
    let mut gateway = Program::named("gateway")?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--tls-cert", &at("own.crt"), "--tls-key", &at("own.key")])
        .start()?;
    let (http, admin) = (gateway.address("http").await?, gateway.address("admin").await?);
    let trusted = flags(&certificates, None);
    let metric = async |line: &str| {
        eventually(line, PATIENCE, async || {
            let said = curl(&trusted, &format!("https://{admin}/metrics")).await?;
            ensure!(said.body.lines().any(|found| found.starts_with(line)), "{said:?}");
            anyhow::Ok(())
        })
        .await
    };
    let shown = async || {
        let said = s_client(http, &["-CAfile", &certificates.file("ca.crt")], "").await?;
        anyhow::Ok(said.lines().find(|line| line.contains("subject=")).unwrap_or_default().to_owned())
    };
    let (refused, taken) = (
        r#"tls_reloads_total{purpose="public",outcome="refused"}"#,
        r#"tls_reloads_total{purpose="public",outcome="taken"}"#,
    );
    metric(&format!("{refused} 0")).await?;
    // Another certificate without its key, then nothing at all, and then both.
    fs::copy(certificates.file("short.crt"), at("own.crt"))?;
    metric(&format!("{refused} 1")).await?;
    ensure!(shown().await?.contains("CN = gateway"), "{}", shown().await?);
    fs::remove_file(at("own.key"))?;
    metric(&format!("{refused} 2")).await?;
    ensure!(shown().await?.contains("CN = gateway"));
    let logged = gateway.output();
    for error in ["--tls-key: is not the key of the certificate of --tls-cert", "--tls-key: cannot read"] {
        let line = logged.lines().find(|line| line.contains("ERROR") && line.contains(error));
        ensure!(line.is_some_and(|line| line.contains("stay in use")), "{error}: {logged}");
    }
    fs::copy(certificates.file("short.key"), at("own.key"))?;
    metric(&format!("{taken} 1")).await?;
    ensure!(shown().await?.contains("CN = short"), "{}", shown().await?);
    // 2037-12-31T00:00:00Z
    metric(r#"tls_certificate_expiry_timestamp_seconds{purpose="public"} 2145830400"#).await
}

/// Whoever has the key of a leaf would be an authority by its certificate.
#[tokio::test]
async fn a_leaf_takes_the_place_of_no_authority() -> Result<()> {
    let certificates = Certificates::make().await?;
    let scratch = Scratch::new("leaf")?;
    let ca = scratch.path().join("ca.crt");
    fs::copy(certificates.file("ca.crt"), &ca)?;
    let mut gateway = Program::named("gateway")?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args([
            "--tls-cert",
            &certificates.file("gateway.crt"),
            "--tls-key",
            &certificates.file("gateway.key"),
        ])
        .args(["--tls-client-ca", &ca.display().to_string()])
        .start()?;
    let (http, admin) = (gateway.address("http").await?, gateway.address("admin").await?);
    let flags = flags(&certificates, Some((&certificates, "client")));
    // Beside one that is an authority, too: the file is used whole or not at all.
    let pem = [certificates.file("ca.crt"), certificates.file("orders.crt")].map(fs::read);
    let [authority, leaf] = pem;
    fs::write(&ca, [authority?, leaf?].concat())?;
    eventually("the file is refused", PATIENCE, async || {
        let said = curl(&flags, &format!("https://{admin}/metrics")).await?;
        let line = r#"tls_reloads_total{purpose="public",outcome="refused"} 1"#;
        ensure!(said.body.lines().any(|found| found == line), "{said:?}");
        anyhow::Ok(())
    })
    .await?;
    let logged = gateway.output();
    let line = logged.lines().find(|line| line.contains("ERROR") && line.contains("no authority's"));
    ensure!(
        line.is_some_and(|line| line.contains("CN=orders") && !line.contains("development CA")),
        "{logged}"
    );
    let said = curl(&flags, &format!("https://localhost:{}/openapi.json", http.port())).await?;
    ensure!(said.status == 200, "{said:?}");
    Ok(())
}
