//! `ordermesh status` on a terminal: what waits and what is stopped, drawn anew every second as long as somebody looks.

use std::{
    io::{self, IsTerminal as _, Write as _, stdout},
    time::Duration,
};

use anyhow::Context as _;
use chassis::{
    clock::{Clock as _, SystemClock, timestamp},
    signals::Signals,
};
use tokio::time::sleep;

use super::{
    look::{self, Asked},
    show, status,
};
use crate::{out, services::Services};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Shows what there is until somebody ends it, and whether nobody has to look by then.
///
/// # Errors
/// When a service cannot be asked by then, or nobody reads what is shown.
pub(super) async fn watch(services: &Services, as_json: bool) -> anyhow::Result<bool> {
    let (mut signals, mut seen) = (Signals::install()?, Vec::<Asked>::new());
    let screen = (!as_json && stdout().is_terminal()).then(Screen::open).transpose();
    let screen = screen.context("cannot write to the terminal")?;
    loop {
        tokio::select! {
            looked = look::look(services) => seen = looked,
            () = signals.next() => break,
        }
        let is_read = match &screen {
            _ if as_json => out::is_read(&[status::json(&seen)?.to_string()])?,
            Some(Screen) => {
                Screen::draw(&text(&seen)).map(|()| true).context("cannot write to the terminal")?
            }
            None => out::is_read(&text(&seen))?,
        };
        if !is_read {
            break;
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = signals.next() => break,
        }
    }
    drop(screen);
    status::whether_fine(&seen)
}

fn text(asked: &[Asked]) -> Vec<String> {
    let now = show::moment(Some(&timestamp(SystemClock.now())));
    let mut text = vec![format!("{now}, anew every second; Ctrl-C ends it"), String::new()];
    text.extend(status::lines(asked));
    text
}

/// The second screen of a terminal; with its end the first one is there again as it was.
struct Screen;

impl Screen {
    fn open() -> io::Result<Self> {
        // Without a cursor, and without a second line for what is too long.
        write(b"\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        Ok(Self)
    }

    /// Over what is there, line by line: nothing flickers.
    fn draw(lines: &[String]) -> io::Result<()> {
        write(frame(lines).as_bytes())
    }
}

/// Each line has its place, and none moves the others: on a low terminal the counts at the top stay, and the last line has the last row.
fn frame(lines: &[String]) -> String {
    let place = |(at, line): (usize, &String)| format!("\x1b[{};1H{line}\x1b[K", at + 1);
    let lines: String = lines.iter().enumerate().map(place).collect();
    format!("\x1b[H{lines}\x1b[J")
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Whoever has gone with their terminal needs none.
        let _gone = write(b"\x1b[?7h\x1b[?25h\x1b[?1049l");
    }
}

fn write(text: &[u8]) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_scrolls_the_counts_away() {
        let frame = frame(&["counts".to_owned(), "parts".to_owned()]);
        assert!(!frame.contains('\n'), "{frame:?}");
        assert_eq!(frame, "\x1b[H\x1b[1;1Hcounts\x1b[K\x1b[2;1Hparts\x1b[K\x1b[J");
    }
}
