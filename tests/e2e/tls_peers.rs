//! Peers that share no code with ours: curl, openssl, and gRPC in Python.

use std::{net::SocketAddr, path::Path, process::Output};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use world::{Certificates, Process, Program};

/// The listeners of a mesh in one process, with TLS: their addresses.
pub(crate) struct Listeners {
    pub(crate) process: Process,
    pub(crate) http: SocketAddr,
    pub(crate) orders: SocketAddr,
    pub(crate) payments: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Listeners {
    /// `ordermesh up` with the certificate `gateway` and these settings.
    pub(crate) async fn start(certificates: &Certificates, env: &[(&str, String)]) -> Result<Self> {
        let program = Program::named("ordermesh")?
            .args(["up", "--http", "127.0.0.1:0", "--orders-grpc", "127.0.0.1:0"])
            .args(["--payments-grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("TLS_CERT", certificates.file("gateway.crt"))
            .env("TLS_KEY", certificates.file("gateway.key"));
        let program = env.iter().fold(program, |program, (name, value)| program.env(name, value));
        let mut process = program.start()?;
        let [http, orders, payments, admin] = [
            process.address("http").await?,
            process.address("orders-grpc").await?,
            process.address("payments-grpc").await?,
            process.address("admin").await?,
        ];
        Ok(Self { process, http, orders, payments, admin })
    }

    /// The lines of `/metrics` that begin so, as this client of the admin listener sees them.
    pub(crate) async fn metric(&self, client: &[String], line: &str) -> Result<f64> {
        let said = curl(client, &format!("https://{}/metrics", self.admin)).await?;
        ensure!(said.status == 200, "{said:?}");
        let found = said.body.lines().find(|found| found.starts_with(line));
        let found = found.with_context(|| format!("no {line} in\n{}", said.body))?;
        Ok(found.rsplit(' ').next().context("a number")?.parse()?)
    }
}

/// What curl has to say.
#[derive(Debug)]
pub(crate) struct Said {
    /// 0 where there is none.
    pub(crate) status: u16,
    /// Of HTTP.
    pub(crate) version: String,
    pub(crate) body: String,
    /// Why there is no answer.
    pub(crate) error: String,
}

/// Trusts the authority, and shows one of its certificates.
pub(crate) fn flags(trusted: &Certificates, shown: Option<(&Certificates, &str)>) -> Vec<String> {
    let mut flags = vec!["--cacert".to_owned(), trusted.file("ca.crt")];
    if let Some((certificates, name)) = shown {
        let [cert, key] = ["crt", "key"].map(|kind| certificates.file(&format!("{name}.{kind}")));
        flags.extend(["--cert".to_owned(), cert, "--key".to_owned(), key]);
    }
    flags
}

/// Calls a URL once.
pub(crate) async fn curl(flags: &[String], url: &str) -> Result<Said> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--noproxy", "*", "--max-time", "20", "-w", "\n%{http_code} %{http_version}"]);
    let output = curl.args(flags).arg(url).kill_on_drop(true).output().await.context("curl")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, codes) = text.rsplit_once('\n').context("curl says how it went")?;
    let (status, version) = codes.split_once(' ').context("two words")?;
    Ok(Said {
        status: status.parse()?,
        version: version.to_owned(),
        body: body.to_owned(),
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The same with a body of JSON.
pub(crate) async fn post(flags: &[String], url: &str, body: &str) -> Result<Said> {
    let json = ["-H", "content-type: application/json", "-d", body].map(str::to_owned);
    curl(&[flags, &json].concat(), url).await
}

/// What a gRPC client in Python says of the health of a server: `SERVING`, or why it was not called.
pub(crate) async fn health(
    address: SocketAddr,
    trusted: &Certificates,
    shown: Option<(&Certificates, &str)>,
) -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../target/tools/python/bin/python");
    ensure!(python.is_file(), "{} is missing: run scripts/setup", python.display());
    let mut client = Command::new(python);
    client.arg(root.join("e2e/tls_peers.py")).arg(format!("localhost:{}", address.port()));
    client.arg(trusted.file("ca.crt"));
    if let Some((certificates, name)) = shown {
        client.args(["crt", "key"].map(|kind| certificates.file(&format!("{name}.{kind}"))));
    }
    let Output { status, stdout, stderr } = client.kill_on_drop(true).output().await?;
    ensure!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
}

/// What `openssl s_client` says of a listener, with these flags; it sends this.
pub(crate) async fn s_client(address: SocketAddr, flags: &[&str], sent: &str) -> Result<String> {
    use tokio::io::AsyncWriteExt as _;
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &address.to_string()]).args(flags);
    client.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut client = client.stderr(std::process::Stdio::piped()).kill_on_drop(true).spawn()?;
    // It ends with its input.
    client.stdin.take().context("its input")?.write_all(sent.as_bytes()).await?;
    let output = client.wait_with_output().await?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}
