//! An arrow of the architecture as a TCP proxy: it passes on what comes, or delays it, holds it back in one way or both, or cuts it off.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{sleep, timeout},
};
use world::PATIENCE;

/// Of each piece in each direction, while it is slow.
const DELAY: Duration = Duration::from_millis(100);

/// What becomes of what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Open,
    Slow,
    /// What is open ends, and what is opened too.
    Cut,
    /// Nothing comes through; what was on its way comes once that is over.
    Silent,
    /// The same for requests alone, and for answers alone.
    NoRequests,
    NoAnswers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Answers,
}

impl Mode {
    fn holds(self, direction: Direction) -> bool {
        match self {
            Self::Open | Self::Slow | Self::Cut => false,
            Self::Silent => true,
            Self::NoRequests => direction == Direction::Requests,
            Self::NoAnswers => direction == Direction::Answers,
        }
    }
}

/// A way to a server.
pub(super) struct Arrow {
    /// Who calls whom.
    pub(super) name: String,
    /// What is called.
    pub(super) to: &'static str,
    /// Where to call.
    pub(super) address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Arrow {
    /// An open one to a server, which need not be there yet.
    pub(super) async fn of(name: String, to: &'static str, server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mode, modes) = watch::channel(Mode::Open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // Whoever called sees its end.
                tokio::spawn(carry(client, server, modes.clone()));
            }
        });
        Ok(Self { name, to, address, mode })
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn carry(client: TcpStream, server: SocketAddr, modes: watch::Receiver<Mode>) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((asking, answered), (answering, asked)) = (client.into_split(), server.into_split());
    // The end of one direction is the end of both: nobody here closes one half and goes on with the other.
    tokio::select! {
        ended = pass(asking, asked, Direction::Requests, modes.clone()) => ended,
        ended = pass(answering, answered, Direction::Answers, modes.clone()) => ended,
        ended = cut(modes) => ended,
    }
}

async fn cut(mut modes: watch::Receiver<Mode>) -> io::Result<()> {
    modes.wait_for(|mode| *mode == Mode::Cut).await.map(drop).map_err(io::Error::other)
}

/// Waits until nothing is held back in a direction, and returns what then becomes of what comes.
async fn passes(modes: &mut watch::Receiver<Mode>, direction: Direction) -> io::Result<Mode> {
    let mode = modes.wait_for(|mode| !mode.holds(direction)).await.map_err(io::Error::other)?;
    Ok(*mode)
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    mut modes: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut piece = vec![0; 1 << 14];
    loop {
        let read = from.read(&mut piece).await?;
        let mode = passes(&mut modes, direction).await?;
        if read == 0 {
            return Ok(());
        }
        if mode == Mode::Slow {
            sleep(DELAY).await;
        }
        to.write_all(&piece[..read]).await?;
    }
}

/// Long enough for what comes through to have come.
const SOON: Duration = Duration::from_millis(300);

#[tokio::test]
async fn an_arrow_holds_back_and_cuts_off() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let echo = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((server, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = server.into_split();
                copy(&mut from, &mut to).await
            });
        }
    });
    let arrow = Arrow::of("a test".to_owned(), "echo", echo).await?;
    let mut client = TcpStream::connect(arrow.address).await?;
    let mut letter = [0_u8];
    for held in [Mode::Silent, Mode::NoRequests, Mode::NoAnswers] {
        for open in [Mode::Open, Mode::Slow] {
            arrow.set(held);
            client.write_all(b"a").await?;
            let early = timeout(SOON, client.read_exact(&mut letter)).await;
            ensure!(early.is_err(), "{held:?} holds nothing back");
            arrow.set(open);
            timeout(PATIENCE, client.read_exact(&mut letter)).await.context("it was lost")??;
        }
    }
    arrow.set(Mode::Cut);
    for mut client in [client, TcpStream::connect(arrow.address).await?] {
        let end = timeout(PATIENCE, client.read(&mut letter)).await.context("it is open")?;
        ensure!(end.is_err() || end.is_ok_and(|read| read == 0), "a letter came");
    }
    Ok(())
}
