//! Without an issuer a process serves its own machine only, unless somebody says that everybody may do everything.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use world::{Api, Certificates, PATIENCE, Process, Program, VALID};

use crate::tls_peers::{curl, flags};

/// Every listener of each binary: its flag, and what it is announced as.
const LISTENERS: [(&str, &[(&str, &str)]); 4] = [
    ("orders", &[("--listen", "orders-grpc"), ("--admin", "admin")]),
    ("payments", &[("--listen", "payments-grpc"), ("--admin", "admin")]),
    ("gateway", &[("--listen", "http"), ("--admin", "admin")]),
    (
        "ordermesh",
        &[
            ("--http", "http"),
            ("--orders-grpc", "orders-grpc"),
            ("--payments-grpc", "payments-grpc"),
            ("--admin", "admin"),
        ],
    ),
];

/// A process whose listeners are on loopback, except the one of this flag.
fn start(name: &str, listeners: &[(&str, &str)], open: &str, more: &[&str]) -> Result<Process> {
    let address = |flag: &str| if flag == open { "0.0.0.0:0" } else { "127.0.0.1:0" };
    let flags = listeners.iter().flat_map(|(flag, _)| [*flag, address(flag)]);
    Program::named(name)?.args(flags.chain(more.iter().copied())).start()
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused() -> Result<()> {
    for (name, listeners) in LISTENERS {
        for (flag, _) in listeners {
            let mut process = start(name, listeners, flag, &[])?;
            let status = process.wait(PATIENCE).await?;
            let output = process.output();
            ensure!(
                !status.success() && output.contains(&format!("{flag}: 0.0.0.0:0 is open")),
                "{name} {flag}: {output}"
            );
            ensure!(output.contains("--insecure") && output.contains("--auth-issuer"), "{output}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn insecure_is_said_aloud_and_loopback_in_passing() -> Result<()> {
    let (name, listeners) = LISTENERS[3];
    let mut process = start(name, listeners, "--http", &["--insecure"])?;
    let address = process.address("http").await?;
    ensure!(process.line_with("INSECURE").await?.contains("WARN"), "{}", process.output());
    let api = Api::new(format!("http://127.0.0.1:{}", address.port()))?;
    ensure!(api.get("/gateway/orders").await?.status == 200);
    for (name, listeners) in LISTENERS {
        let mut process = start(name, listeners, "", &[])?;
        let line = process.line_with("loopback only").await?;
        ensure!(line.contains("INFO"), "{name}: {line}");
    }
    Ok(())
}

/// A page whose name leads to this machine has the same origin as the edge for a browser: only `Host` tells.
#[tokio::test]
async fn names_of_other_machines_are_refused_where_nobody_is_asked() -> Result<()> {
    for (name, listeners) in [LISTENERS[2], LISTENERS[3]] {
        for (more, page) in [(&[][..], 403), (&["--insecure"][..], 200)] {
            let mut process = start(name, listeners, "", more)?;
            let address = process.address("http").await?;
            let client = reqwest::Client::builder().no_proxy().resolve("shop.example", address).build()?;
            let asked = async |host: &str| {
                let url = format!("http://{host}:{}/openapi.json", address.port());
                let answer = client.get(url).send().await?;
                anyhow::Ok((answer.status().as_u16(), answer.text().await?))
            };
            let (status, text) = asked("shop.example").await?;
            ensure!(status == page, "{name} {more:?}: {status} {text}");
            ensure!(
                page == 200 || text.contains("ORIGIN_NOT_ALLOWED") && text.contains("--insecure"),
                "{text}"
            );
            for own in ["127.0.0.1", "localhost"] {
                ensure!(asked(own).await?.0 == 200, "{name} as {own}");
            }
        }
    }
    Ok(())
}

/// What a client gets that believes that a name leads to this listener.
async fn called(host: &str, address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let client = reqwest::Client::builder().no_proxy().resolve("shop.example", address).build()?;
    let answer = client.get(format!("http://{host}:{}{path}", address.port())).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Whoever is asked for a token or not: what needs none, such as the metrics, is for no page of others either.
#[tokio::test]
async fn the_admin_listener_is_called_by_no_name_of_others() -> Result<()> {
    const PATHS: [&str; 5] = ["/livez", "/readyz", "/metrics", "/console/", "/admin/v1/orders/status"];
    for (name, listeners) in LISTENERS {
        for more in [&[][..], &["--insecure"], &["--admin-hosts", "ops.example,Shop.Example."]] {
            let mut process = start(name, listeners, "", more)?;
            let address = process.address("admin").await?;
            let is_listed = more.contains(&"--admin-hosts");
            for path in PATHS {
                let (status, text) = called("shop.example", address, path).await?;
                let is_refused = status == 403 && text.contains("ORIGIN_NOT_ALLOWED");
                ensure!(is_refused != is_listed, "{name} {more:?} {path}: {status} {text}");
                ensure!(is_listed || text.contains("--admin-hosts"), "{text}");
            }
            for own in ["127.0.0.1", "localhost", "shop.localhost"] {
                // No resolver has to know this one.
                let client = reqwest::Client::builder().no_proxy().resolve(own, address).build()?;
                let answer = client.get(format!("http://{own}:{}/livez", address.port())).send().await?;
                ensure!(answer.status() == 200, "{name} as {own}");
            }
        }
        let mut process = start(name, listeners, "", &["--admin-hosts", "a.example,,http://b.example"])?;
        ensure!(!process.wait(PATIENCE).await?.success());
        for wrong in ["--admin-hosts: \"\" is no name", "--admin-hosts: \"http://b.example\" is no name"] {
            ensure!(process.output().contains(wrong), "{name}: {}", process.output());
        }
    }
    Ok(())
}

/// A browser looks for the name in the certificate, so that no page of another name gets that far.
#[tokio::test]
async fn an_admin_listener_with_tls_is_known_by_its_certificate() -> Result<()> {
    let certificates = Certificates::make().await?;
    certificates.issue("operators", "DNS:ops.example", VALID)?;
    let (name, listeners) = LISTENERS[2];
    let tls = ["--tls-cert".to_owned(), certificates.file("operators.crt"), "--tls-key".to_owned()];
    let tls: Vec<String> = tls.into_iter().chain([certificates.file("operators.key")]).collect();
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    let mut process = start(name, listeners, "", &tls)?;
    let address = process.address("admin").await?;
    for (host, answered) in [("ops.example", 200), ("shop.example", 0)] {
        let resolved = ["--resolve".to_owned(), format!("{host}:{}:{}", address.port(), address.ip())];
        let flags = [flags(&certificates, None), resolved.to_vec()].concat();
        let said = curl(&flags, &format!("https://{host}:{}/livez", address.port())).await?;
        ensure!(said.status == answered, "{host}: {said:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_for_development_lets_its_tokens_in() -> Result<()> {
    let folder = world::Scratch::new("development")?;
    let data = folder.path().join("data");
    let (name, listeners) = LISTENERS[3];
    let flags = ["--auth", "dev", "--data-dir", &data.display().to_string()].map(str::to_owned);
    let flags = flags.iter().map(String::as_str).collect::<Vec<_>>();
    let mut process = start(name, listeners, "", &flags)?;
    let api = Api::new(format!("http://{}", process.address("http").await?))?;
    let key = data.join("development-key.p8");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key)?.permissions());
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    let keys = api.get("/.well-known/jwks.json").await?;
    ensure!(keys.body["keys"][0]["kty"] == "EC" && keys.body["keys"][0]["d"].is_null(), "{}", keys.text);

    ensure!(api.get("/gateway/orders").await?.status == 401);
    let token = async |more: &[&str]| {
        let flags = ["token", "--data-dir", &data.display().to_string()].map(str::to_owned);
        let mut token = Program::named("ordermesh")?.args(flags).args(more.iter().copied()).start()?;
        token.wait(PATIENCE).await?;
        anyhow::Ok(token.output().trim().to_owned())
    };
    let alice = api.with_token(&token(&["--user", "alice"]).await?);
    let opened = alice.post("/gateway/payments", &serde_json::json!({})).await?;
    ensure!(opened.status == 200 && opened.body["userId"] == "alice", "{}", opened.text);
    let narrow =
        api.with_token(&token(&["--user", "alice", "--scope", "payments:read", "--for", "1m"]).await?);
    ensure!(narrow.get("/gateway/payments/alice").await?.status == 200);
    ensure!(narrow.get("/gateway/orders").await?.status == 403);
    for wrong in [
        &["--user", "a b"][..],
        &["--user", "alice", "--for", "soon"],
        &["--user", "alice", "--for", "0s"],
        &["--user", "alice", "--for", "1000000000d"],
    ] {
        let said = token(wrong).await?;
        ensure!(said.contains("in the settings"), "{said}");
    }
    // Whoever may read it could be anybody.
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let said = token(&["--user", "alice"]).await?;
    ensure!(said.contains("is open to others"), "{said}");
    Ok(())
}

#[tokio::test]
async fn an_issuer_and_an_operators_token_exclude_each_other() -> Result<()> {
    let (name, listeners) = LISTENERS[0];
    let issuer = ["--auth-issuer", "https://x.test", "--auth-jwks", "http://127.0.0.1:1/jwks"];
    for (more, flag) in [(&["--admin-token", "x"][..], "--admin-token"), (&["--insecure"], "--insecure")] {
        let mut process = start(name, listeners, "", &[&issuer[..], more].concat())?;
        ensure!(
            !process.wait(PATIENCE).await?.success() && process.output().contains(flag),
            "{}",
            process.output()
        );
    }
    Ok(())
}
