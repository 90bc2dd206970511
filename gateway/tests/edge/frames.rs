//! What a client of a WebSocket sends that is no message: it learns why, and its call ends.

use std::time::Duration;

use ::world::PATIENCE;
use futures_util::{SinkExt as _, StreamExt as _};
use gateway::Config;
use tokio::{io::AsyncWriteExt as _, time::timeout};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    sockets::{open, rest},
    streams::{WATCH, endless},
    talks::world_with,
    world::{World, reason},
};

/// A mask that changes nothing.
const MASK: [u8; 4] = [0; 4];

/// A frame with this first byte, and a length in 16 bits.
fn long(first: u8, length: u16) -> Vec<u8> {
    let head = [&[first, 0xfe][..], &length.to_be_bytes(), &MASK].concat();
    [head, vec![b'a'; length.into()]].concat()
}

#[tokio::test]
async fn what_is_no_message_ends_the_call_with_a_code_that_says_why() {
    let short = |first: u8, payload: &[u8]| {
        let length = 0x80 | u8::try_from(payload.len()).expect("short");
        [&[first, length][..], &MASK, payload].concat()
    };
    let (malformed, large) = ("MALFORMED_REQUEST", "BODY_TOO_LARGE");
    for (what, sent, code, why) in [
        ("a message that is too long", long(0x81, 8_192), CloseCode::Size, large),
        (
            "one that is too long in parts",
            [long(0x01, 4_000), long(0x80, 4_000)].concat(),
            CloseCode::Size,
            large,
        ),
        ("text that is not UTF-8", short(0x81, b"\xff\xff"), CloseCode::Invalid, malformed),
        ("a bit that nobody agreed on", short(0xc1, b"a"), CloseCode::Protocol, malformed),
        ("no mask", b"\x81\x01a".to_vec(), CloseCode::Protocol, malformed),
        ("an unknown kind of data", short(0x83, b"a"), CloseCode::Protocol, malformed),
        ("an unknown frame of control", short(0x8b, b"a"), CloseCode::Protocol, malformed),
        ("the rest of nothing", short(0x80, b"a"), CloseCode::Protocol, malformed),
        ("a ping in parts", short(0x09, b"a"), CloseCode::Protocol, malformed),
    ] {
        let (upstream, dropped) = endless().await;
        let world = World::of(&upstream).await;
        let mut socket = open(&world, WATCH).await;
        socket.next().await.expect("a message").expect("a message");
        socket.get_mut().write_all(&sent).await.expect("it is sent");
        let (messages, close) = rest(socket).await;
        assert_eq!((messages.len(), reason(&messages[0])), (1, why), "{what}: {messages:?}");
        assert_eq!((close.code, close.reason.as_str()), (code, why), "{what}");
        timeout(PATIENCE, dropped).await.expect("in time").expect_err("the sender is dropped with the call");
    }
}

#[tokio::test]
async fn a_client_that_sends_too_much_learns_so_and_is_not_cut_off() {
    let settings = |config| Config { max_body_bytes: 64 << 10, ..config };
    let world = world_with(settings).await;
    let mut socket = open(&world, "/talk/room").await;
    // More than the buffers on its way hold: who sends it reads nothing before it is sent.
    let sent = socket.send(Message::text("x".repeat(8 << 20)));
    timeout(Duration::from_secs(20), sent).await.expect("in time").expect("it is read");
    let (messages, close) = rest(socket).await;
    assert_eq!((messages.len(), reason(&messages[0])), (1, "BODY_TOO_LARGE"), "{messages:?}");
    assert_eq!((close.code, close.reason.as_str()), (CloseCode::Size, "BODY_TOO_LARGE"));
    // As long as may be.
    let mut socket = open(&world, "/talk/room").await;
    let whole = format!("{{\"many\":[\"{}\"]}}", "x".repeat((64 << 10) - 13));
    socket.send(Message::text(whole)).await.expect("it is sent");
    let echoed = socket.next().await.expect("an answer").expect("a frame");
    assert!(echoed.to_text().expect("text").contains("xxx"), "{echoed}");
}
