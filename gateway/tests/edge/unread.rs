//! What a client that streams has sent counts as the bodies of requests do, until the service takes it: parts of a message, and whole ones.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use futures_util::StreamExt as _;
use gateway::Config;
use http::{HeaderName, StatusCode};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};
use tokio_util::task::AbortOnDropHandle;
use world::{PATIENCE, eventually};

use crate::{
    connect::{envelope, envelopes},
    talks::{STANDS_STILL, post, world_with},
    world::{World, json, reason},
};

/// What all bodies may take; one client may have a quarter.
const ALL: usize = 1 << 20;
const LARGE: usize = 200 << 10;

fn message() -> String {
    format!("{{\"many\":[\"{}\"]}}", "x".repeat(LARGE))
}

/// A WebSocket on which so many bytes of a message have been sent.
async fn begun(world: &World, bytes: usize) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let url = format!("{}/talk/room", world.url.replace("http", "ws"));
    let (mut socket, _) = connect_async(url.as_str()).await.expect("a WebSocket");
    let text = message();
    // A text frame with 64 bits of length, and a mask that changes nothing.
    let head = [&[0x81, 0xff][..], &(text.len() as u64).to_be_bytes(), &[0; 4]].concat();
    let sent = [&head, &text.as_bytes()[..bytes]].concat();
    socket.get_mut().write_all(&sent).await.expect("it is sent");
    socket
}

/// Whether a body of half that size has room.
async fn has_room(world: &World) -> StatusCode {
    let body = format!("{{\"a\":\"{}\"}}", "y".repeat(LARGE / 2));
    post(world, "/collect", body).send().await.expect("an answer").status()
}

async fn comes_to(world: &World, status: StatusCode) -> Result<()> {
    eventually("the room for another body", PATIENCE, async || {
        let found = has_room(world).await;
        ensure!(found == status, "{found}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_message_counts_before_it_is_whole_and_until_it_is_taken() -> Result<()> {
    let settings = |config| Config { max_buffered_bytes: ALL, max_body_bytes: ALL / 4, ..config };
    let world = world_with(settings).await;
    comes_to(&world, StatusCode::OK).await?;
    let mut first = begun(&world, LARGE).await;
    comes_to(&world, StatusCode::TOO_MANY_REQUESTS).await?;

    // Another one gets the reason why it is not read, and its end.
    let mut second = begun(&world, LARGE).await;
    let refusal = second.next().await.expect("a refusal")?;
    let refusal: Value = serde_json::from_str(refusal.to_text()?)?;
    ensure!(reason(&refusal) == "RATE_LIMITED", "{refusal}");
    let Message::Close(Some(close)) = second.next().await.expect("an end")? else {
        anyhow::bail!("no end");
    };
    ensure!(close.code == CloseCode::Error, "{close}");
    drop(second);

    // The rest of the first one.
    first.get_mut().write_all(&message().as_bytes()[LARGE..]).await?;
    let echoed: Value = serde_json::from_str(first.next().await.expect("an answer")?.to_text()?)?;
    ensure!(echoed["many"][0].as_str().map(str::len) == Some(LARGE), "{echoed}");
    comes_to(&world, StatusCode::OK).await?;
    let one = post(&world, "/collect", "{}").send().await?;
    json(one, StatusCode::OK).await;
    Ok(())
}

#[tokio::test]
async fn frames_of_control_do_not_add_up() -> Result<()> {
    let settings = |config| Config { max_buffered_bytes: ALL, max_body_bytes: ALL / 4, ..config };
    let world = world_with(settings).await;
    let mut socket = begun(&world, 0).await;
    socket.get_mut().write_all(message().as_bytes()).await?;
    socket.next().await.expect("an answer")?;
    // More than a client may have, in pings of 125 bytes; each is answered.
    let ping = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
    for _ in 0..ALL / 4 / ping.len() + 100 {
        socket.get_mut().write_all(&ping).await?;
        let Message::Pong(_) = socket.next().await.expect("an answer")? else { anyhow::bail!("no pong") };
    }
    comes_to(&world, StatusCode::OK).await
}

/// A call of `collect` that the service takes nothing of; it ends when it is dropped. Its body has a length: of one that may go on, the edge
/// does not see that its client leaves while it reads nothing of it.
fn standing(world: &World, path: &str, headers: &[(&str, &str)], sent: Vec<u8>) -> AbortOnDropHandle<()> {
    let request = world.request("POST", path).header(STANDS_STILL, "yes");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = request.body(sent).send();
    AbortOnDropHandle::new(tokio::spawn(async move { drop(answer.await) }))
}

#[tokio::test]
async fn a_message_counts_until_the_service_takes_it() -> Result<()> {
    const CONNECT: &str = "/talks.v1.Talks/Collect";
    let settings = |config| Config {
        max_buffered_bytes: ALL,
        max_body_bytes: ALL / 4,
        forward_headers: vec![HeaderName::from_static(STANDS_STILL)],
        ..config
    };
    let world = world_with(settings).await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(message().as_bytes())?;
    let gzip = gzip.finish()?;
    ensure!(gzip.len() < LARGE / 10, "it becomes much more");
    let typed = |kind: &'static str| ("content-type", kind);
    let json = typed("application/connect+json");
    for (path, headers, sent) in [
        (CONNECT, &[json][..], envelope(0, message().as_bytes())),
        (CONNECT, &[json, ("connect-content-encoding", "gzip")], envelope(1, &gzip)),
        ("/collect", &[typed("application/x-ndjson")], format!("{}\n", message()).into_bytes()),
    ] {
        comes_to(&world, StatusCode::OK).await?;
        let call = standing(&world, path, headers, sent);
        comes_to(&world, StatusCode::TOO_MANY_REQUESTS).await.with_context(|| format!("{headers:?}"))?;
        drop(call);
    }
    comes_to(&world, StatusCode::OK).await
}

#[tokio::test]
async fn what_gzip_unpacks_to_has_room_or_is_refused() -> Result<()> {
    let settings = |config| Config { max_buffered_bytes: ALL, max_body_bytes: ALL / 4, ..config };
    let world = world_with(settings).await;
    let _held = begun(&world, LARGE).await;
    comes_to(&world, StatusCode::TOO_MANY_REQUESTS).await?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(message().as_bytes())?;
    let request = world.request("POST", "/talks.v1.Talks/Collect").header("connect-content-encoding", "gzip");
    let request = request.header("content-type", "application/connect+json");
    let answer = request.body(envelope(1, &gzip.finish()?)).send().await?;
    let found = envelopes(&answer.bytes().await?);
    ensure!(String::from_utf8_lossy(&found[0].1).contains("resource_exhausted"), "{found:?}");
    Ok(())
}
