//! TLS of every listener, seen by peers that share no code with ours.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use world::{Certificates, PATIENCE, Program, Scratch, eventually};

use crate::tls_peers::{Listeners, curl, flags, health, post, s_client};

#[tokio::test]
async fn each_listener_speaks_tls_as_peers_do() -> Result<()> {
    let certificates = Certificates::make().await?;
    let mesh = Listeners::start(&certificates, &[]).await?;
    let trusted = flags(&certificates, None);
    let edge = format!("https://{}", mesh.http);
    let opened = post(&trusted, &format!("{edge}/gateway/payments"), r#"{"userId":"alice"}"#).await?;
    ensure!(opened.status == 200, "{opened:?}");
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2"), ("--http2-prior-knowledge", "2")] {
        let flags = [&trusted[..], &[flag.to_owned()]].concat();
        let said = curl(&flags, &format!("{edge}/gateway/payments/alice")).await?;
        ensure!(said.status == 200 && said.version == version, "{flag}: {said:?}");
    }
    // A page is longer than a record of TLS.
    let page = curl(&trusted, &format!("{edge}/swagger/swagger-ui-bundle.js")).await?;
    ensure!(page.status == 200 && page.body.len() > 500_000, "{} bytes", page.body.len());
    let probe = curl(&trusted, &format!("https://{}/livez", mesh.admin)).await?;
    ensure!(probe.status == 200 && probe.version == "1.1", "{probe:?}");
    for address in [mesh.orders, mesh.payments] {
        ensure!(health(address, &certificates, None).await? == "SERVING");
    }
    let distrusted = curl(&[], &edge).await?;
    ensure!(distrusted.status == 0 && distrusted.error.contains("certificate"), "{distrusted:?}");

    for (address, offered, chosen) in [
        (mesh.http, "h2,http/1.1", "ALPN protocol: h2"),
        (mesh.http, "http/1.1", "ALPN protocol: http/1.1"),
        (mesh.http, "spdy/3", "no application protocol"),
        (mesh.orders, "h2", "ALPN protocol: h2"),
        (mesh.orders, "http/1.1", "no application protocol"),
        (mesh.admin, "h2,http/1.1", "ALPN protocol: http/1.1"),
    ] {
        let said = s_client(address, &["-alpn", offered], "").await?;
        ensure!(said.contains(chosen), "{address} {offered}: {said}");
    }
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = s_client(mesh.http, &[flag, "-CAfile", &certificates.file("ca.crt")], "").await?;
        ensure!(
            said.contains(&format!("New, {version}")) && said.contains("Verify return code: 0"),
            "{said}"
        );
    }
    let old = s_client(mesh.http, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "").await?;
    ensure!(old.contains("alert") && !old.contains("New, TLS"), "{old}");
    Ok(())
}

#[tokio::test]
async fn plain_http_is_refused_with_a_sentence_and_does_not_hang() -> Result<()> {
    let certificates = Certificates::make().await?;
    let mesh = Listeners::start(&certificates, &[]).await?;
    for address in [mesh.http, mesh.orders, mesh.payments, mesh.admin] {
        let said = curl(&[], &format!("http://{address}/")).await?;
        ensure!(said.status == 400 && said.body.contains("this port speaks TLS"), "{said:?}");
        let error: serde_json::Value = serde_json::from_str(&said.body)?;
        ensure!(error["error"]["details"][0]["reason"] == "MALFORMED_REQUEST", "{said:?}");
        // More than is read, and neither a client that goes on sending nor one of HTTP/2 is left waiting.
        for sent in
            [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &b"POST / HTTP/1.1\r\n\r\n".repeat(20_000), b"\0\0\0"]
        {
            let mut stream = TcpStream::connect(address).await?;
            let (mut answer, (mut read, mut write)) = (Vec::new(), stream.split());
            let ended = timeout(Duration::from_secs(5), async {
                tokio::join!(write.write_all(sent), read.read_to_end(&mut answer))
            });
            let (_sent_or_reset, _end) = ended.await?;
            let wanted = if sent[0] == 0 { &b""[..] } else { b"HTTP/1.1 400 " };
            ensure!(answer.starts_with(wanted), "{address}: {}", String::from_utf8_lossy(&answer));
        }
    }
    let trusted = flags(&certificates, None);
    let plain = r#"tls_handshake_failures_total{listener="orders-grpc",reason="plain_http"}"#;
    ensure!(mesh.metric(&trusted, plain).await? == 3.0);
    Ok(())
}

#[tokio::test]
async fn a_handshake_that_never_ends_harms_nobody() -> Result<()> {
    let certificates = Certificates::make().await?;
    // All that there are may be of one client: it is the time for a handshake that gives them back.
    let env = [
        ("GATEWAY_HEADER_TIMEOUT", "1s"),
        ("GATEWAY_MAX_CONNECTIONS", "4"),
        ("GATEWAY_MAX_CONNECTIONS_PER_CLIENT", "4"),
    ];
    // `up` has its edge without such limits.
    let mut gateway =
        env.iter().fold(Program::named("gateway")?, |program, (name, value)| program.env(name, *value));
    gateway = gateway.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let (cert, key) = (certificates.file("gateway.crt"), certificates.file("gateway.key"));
    let mut process = gateway.args(["--tls-cert", &cert, "--tls-key", &key]).start()?;
    let (http, admin) = (process.address("http").await?, process.address("admin").await?);
    let mut silent = Vec::new();
    for number in 0..8 {
        let mut stream = TcpStream::connect(http).await?;
        if number % 2 == 1 {
            // The beginning of a record, whose rest never comes.
            stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await?;
        }
        silent.push(stream);
    }
    let trusted = flags(&certificates, None);
    let said = curl(&trusted, &format!("https://{http}/openapi")).await?;
    ensure!(said.status != 0, "{said:?}");
    for stream in &mut silent {
        let ended = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await?;
        ensure!(ended.is_err() || matches!(ended, Ok(0..=7)), "{ended:?}");
    }
    let metrics = curl(&trusted, &format!("https://{admin}/metrics")).await?.body;
    let timeouts = r#"tls_handshake_failures_total{listener="http",reason="timeout"} 8"#;
    ensure!(metrics.lines().any(|line| line == timeouts), "{metrics}");
    eventually("the permits of all", PATIENCE, async || {
        let metrics = curl(&trusted, &format!("https://{admin}/metrics")).await?.body;
        ensure!(metrics.contains("\nhttp_server_connections 0"), "{metrics}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn a_process_asks_itself_over_tls() -> Result<()> {
    let certificates = Certificates::make().await?;
    // Its own certificate is in no list.
    let env =
        [("ADMIN_TLS_CLIENT_CA", certificates.file("ca.crt")), ("ADMIN_TLS_CLIENT_SAN", "client".to_owned())];
    for env in [&env[..], &[]] {
        let mesh = Listeners::start(&certificates, env).await?;
        let asked = async |more: &[(&str, String)]| {
            let check =
                Program::named("ordermesh")?.args(["healthcheck", "--admin", &mesh.admin.to_string()]);
            let mut check = more.iter().fold(check, |check, (name, value)| check.env(name, value)).start()?;
            let status = check.wait(PATIENCE).await?;
            anyhow::Ok((status.success(), check.output()))
        };
        let own =
            [("TLS_CERT", certificates.file("gateway.crt")), ("TLS_KEY", certificates.file("gateway.key"))];
        let (ready, said) = asked(&[&own[..], env].concat()).await?;
        ensure!(ready && said.starts_with("ready"), "{said}");
        let (ready, said) = asked(&[]).await?;
        ensure!(!ready && said.contains("this port speaks TLS"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn certificates_for_development_are_kept_from_others_and_never_overwritten() -> Result<()> {
    let folder = Scratch::new("certs")?;
    let out = folder.path().join("certs");
    let make = async |more: &[&str]| {
        let made = Program::named("ordermesh")?.args(["certs", "--out"]).args([out.display().to_string()]);
        let mut made = made.args(more.iter().copied()).start()?;
        let status = made.wait(PATIENCE).await?;
        anyhow::Ok((status.success(), made.output()))
    };
    let (made, said) = make(&["--host", "shop.example", "--host", "10.1.2.3"]).await?;
    ensure!(made, "{said}");
    let names = ["ca", "gateway", "orders", "payments", "broker", "database", "client"];
    ensure!(fs::read_dir(&out)?.count() == 2 * names.len());
    for name in names {
        let mode = fs::metadata(out.join(format!("{name}.key")))?.permissions().mode();
        ensure!(mode & 0o777 == 0o600, "{name}: {mode:o}");
        let checked = std::process::Command::new("openssl")
            .args(["verify", "-x509_strict", "-CAfile", "ca.crt", &format!("{name}.crt")])
            .current_dir(&out)
            .output()?;
        ensure!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
        let text = std::process::Command::new("openssl")
            .args(["x509", "-noout", "-text", "-in", &format!("{name}.crt")])
            .current_dir(&out)
            .output()?;
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        let is_server = !["ca", "client"].contains(&name);
        ensure!(text.contains("DNS:localhost") == is_server, "{text}");
        ensure!(
            text.contains("IP Address:10.1.2.3") == is_server
                && text.contains("DNS:shop.example") == is_server,
            "{text}"
        );
        ensure!(text.contains("TLS Web Server Authentication") == is_server, "{text}");
        ensure!(text.contains(&format!("URI:spiffe://ordermesh/{name}")) == (name != "ca"), "{text}");
    }
    let before = fs::read(out.join("ca.key"))?;
    fs::remove_file(out.join("client.crt"))?;
    let (made, said) = make(&[]).await?;
    ensure!(!made && said.contains("nothing is overwritten") && said.contains("ca.key"), "{said}");
    ensure!(fs::read(out.join("ca.key"))? == before && !out.join("client.crt").exists());
    Ok(())
}

#[tokio::test]
async fn certificates_for_development_are_for_names_and_times_that_exist() -> Result<()> {
    let folder = Scratch::new("certs")?;
    let make = async |name: &str, more: [&str; 2]| {
        let out = folder.path().join(name);
        let made = Program::named("ordermesh")?.args(["certs", "--out"]).args([out.display().to_string()]);
        let mut made = made.args(more).start()?;
        let status = made.wait(PATIENCE).await?;
        anyhow::Ok((status.code(), made.output(), out))
    };
    for (flag, value, error) in [
        ("--for", "1000000000d", "--for: has to be between 1s and 36500d"),
        ("--for", "0s", "--for: has to be between 1s and 36500d"),
        ("--host", "", "--host: \"\" is not valid"),
        ("--host", "bad host", "--host: \"bad host\" is not valid"),
        ("--host", "spiffe://x/y", "--host: \"spiffe://x/y\" is not valid"),
        ("--host", "[10.1.2.3]", "is not valid"),
        ("--host", "10.1.2.300", "is not valid"),
        ("--host", "shop-.example", "is not valid"),
        ("--host", "shop..example", "is not valid"),
    ] {
        let (code, said, out) = make("refused", [flag, value]).await?;
        ensure!(code == Some(1) && said.contains(error) && !out.exists(), "{value}: {code:?} {said}");
    }
    for (name, host, shown) in [
        ("brackets", "[2001:db8::1]", "IP Address:2001:DB8:0:0:0:0:0:1"),
        ("pattern", "*.shop.example", "DNS:*.shop.example"),
    ] {
        let (code, said, out) = make(name, ["--host", host]).await?;
        ensure!(code == Some(0), "{said}");
        let text = std::process::Command::new("openssl")
            .args(["x509", "-noout", "-text", "-in", "gateway.crt"])
            .current_dir(&out)
            .output()?;
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        ensure!(text.contains(shown), "{text}");
    }
    Ok(())
}
