//! A console: the websocket of a client on one side, a terminal of the mock on the other.

mod terminal;

use pve_access::{Keyring, Privileges, Subject, ticket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::limits::{CONSOLE_IDLE, FRAME_PAYLOAD};
use crate::shared::Shared;
use crate::state::{ConsoleKind, State};
use crate::wire::{Opcode, Upgrade, read_frame, write_frame};
use terminal::{Output, Terminal};

/// Serves a connection after its 101 until either side ends. `received` is what the client sent
/// after the handshake. Nothing is said at the end: the genuine server sends no close frame.
pub(crate) async fn run<S>(shared: &Shared, stream: &mut S, received: Vec<u8>, upgrade: &Upgrade)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let port = upgrade.port;
    let keys = shared.keys.signing().await;
    let (kind, path) = shared.state().consoles.opened(port);
    let terminal = match kind {
        ConsoleKind::Terminal => Terminal::Login(Vec::new()),
        ConsoleKind::Vnc | ConsoleKind::Spice => Terminal::Vnc,
    };
    let admits = |user: &str, ticket: &str| {
        let privilege = if path.starts_with("/vms/") { "VM.Console" } else { "Sys.Console" };
        let now = shared.clock.unix_secs();
        let question = Question { user, ticket, path: &path, port: Some(port), now };
        keys.as_ref().is_some_and(|keys| opens(&shared.state(), keys, &question, &[privilege]))
    };
    relay(stream, received, upgrade.encode(), terminal, admits).await;
    shared.state().consoles.closed(port);
}

/// Whether a console ticket opens a console.
pub(crate) struct Question<'q> {
    pub(crate) user: &'q str,
    pub(crate) ticket: &'q str,
    pub(crate) path: &'q str,
    pub(crate) port: Option<u16>,
    /// Seconds since 1970.
    pub(crate) now: u64,
}

/// The rule of `POST /access/vncticket`, which termproxy asks: the ticket is for this user, path
/// and port, and the user is active and holds all privileges on the path.
pub(crate) fn opens(
    state: &State,
    keys: &Keyring,
    question: &Question<'_>,
    privileges: &[&str],
) -> bool {
    let &Question { user, ticket, path, port, now } = question;
    let (Ok(subject), Ok(wanted)) =
        (user.parse::<Subject>(), Privileges::parse(privileges.iter().copied()))
    else {
        return false;
    };
    !privileges.is_empty()
        && state.accounts.is_active(&subject, now)
        && ticket::verify_vnc(keys, ticket, user, path, port, now).is_ok()
        && state.accounts.privileges(&subject, path).contains_all(wanted)
}

async fn relay<S>(
    stream: &mut S,
    mut received: Vec<u8>,
    mut out: Vec<u8>,
    mut terminal: Terminal,
    admits: impl Fn(&str, &str) -> bool,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    show(terminal.greeting(), &mut out);
    loop {
        let goes_on = answer(&mut received, &mut terminal, &admits, &mut out);
        if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() || !goes_on {
            return;
        }
        out.clear();
        let read = timeout(CONSOLE_IDLE, stream.read_buf(&mut received)).await;
        if !matches!(read, Ok(Ok(1..))) {
            return;
        }
    }
}

/// Takes the whole frames out of `received` and adds the answers to `out`; false when the
/// connection ends after them.
fn answer(
    received: &mut Vec<u8>,
    terminal: &mut Terminal,
    admits: &impl Fn(&str, &str) -> bool,
    out: &mut Vec<u8>,
) -> bool {
    let mut at = 0;
    let goes_on = loop {
        match read_frame(received.get(at..).unwrap_or_default()) {
            Ok(None) => break true,
            Err(fault) => {
                tracing::debug!(%fault, "console");
                break false;
            }
            Ok(Some((frame, consumed))) => {
                at += consumed;
                match frame.opcode {
                    Opcode::Text | Opcode::Binary => {
                        let Output { bytes, ended } = terminal.input(&frame.payload, admits);
                        show(&bytes, out);
                        if ended {
                            break false;
                        }
                    }
                    Opcode::Ping => write_frame(Opcode::Pong, &frame.payload, out),
                    Opcode::Pong => {}
                    Opcode::Close => break false,
                }
            }
        }
    };
    received.drain(..at);
    goes_on
}

/// Adds what the terminal says, always in binary frames.
fn show(bytes: &[u8], out: &mut Vec<u8>) {
    for piece in bytes.chunks(FRAME_PAYLOAD) {
        write_frame(Opcode::Binary, piece, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::client_frame;

    /// Everything the server sends in answer to `sent`, when the client then ends its side.
    fn conversation(terminal: Terminal, sent: &[u8]) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut client, mut server) = tokio::io::duplex(1 << 20);
            client.write_all(sent).await.unwrap();
            client.shutdown().await.unwrap();
            let admits = |user: &str, ticket: &str| (user, ticket) == ("a@pve", "t");
            relay(&mut server, Vec::new(), Vec::new(), terminal, admits).await;
            drop(server);
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            all
        })
    }

    fn frames(list: &[(Opcode, &str)]) -> Vec<u8> {
        let one =
            |(opcode, text): &(Opcode, &str)| client_frame(*opcode, text.as_bytes(), *b"mask");
        list.iter().flat_map(one).collect()
    }

    #[test]
    fn the_recorded_conversation() {
        let sent = frames(&[
            (Opcode::Binary, "hello"),
            (Opcode::Ping, "pi"),
            (Opcode::Text, "txt"),
            (Opcode::Close, "\u{3}x"),
            (Opcode::Binary, "unheard"),
        ]);
        let expected = b"\x82\x0CRFB 003.008\n\x82\x05hello\x8A\x02pi\x82\x03txt";
        assert_eq!(conversation(Terminal::Vnc, &sent), expected);
    }

    #[test]
    fn a_terminal_over_frames() {
        let sent = frames(&[
            (Opcode::Text, "a@pve:t\n"),
            (Opcode::Text, "0:2:l"),
            (Opcode::Pong, "x"),
            (Opcode::Text, "s1:80:24:"),
            (Opcode::Text, "2"),
        ]);
        let expected = b"\x82\x02OK\x82\x02ls";
        assert_eq!(conversation(Terminal::Login(Vec::new()), &sent), expected);
        let refused = frames(&[(Opcode::Text, "b@pve:t\n"), (Opcode::Ping, "unheard")]);
        assert_eq!(conversation(Terminal::Login(Vec::new()), &refused), b"");
    }

    #[test]
    fn a_bad_frame_ends_the_connection_after_the_good_ones() {
        let unmasked = [0x82, 0x01, b'x'];
        for bad in [unmasked, [0xC2, 0x80, 0], [0x02, 0x80, 0], [0x83, 0x80, 0]] {
            let mut sent = frames(&[(Opcode::Binary, "a")]);
            sent.extend(bad);
            sent.extend([0, 0, 0, 0, 0]);
            sent.extend(frames(&[(Opcode::Ping, "unheard")]));
            assert_eq!(conversation(Terminal::Vnc, &sent), b"\x82\x0CRFB 003.008\n\x82\x01a");
        }
    }
}
