//! What stands behind a console's port: the side that termproxy or a VNC server has on a
//! genuine node, without sockets.

use crate::limits::{TERMINAL_COMMAND, TERMINAL_LOGIN};

/// The version line with which a VNC server begins (RFC 6143 section 7.1.1).
const RFB_VERSION: &[u8] = b"RFB 003.008\n";
/// The numbers of a command never take more: `1:4294967295:4294967295:`.
const HEADER_BYTES: usize = 24;

/// One end of a console; every byte a user types comes back.
#[derive(Debug)]
pub(crate) enum Terminal {
    /// Greets as a VNC server does, then echoes: enough for a proxy, not for a viewer.
    Vnc,
    /// termproxy before the line `user:ticket\n`, with what has come of it.
    Login(Vec<u8>),
    /// termproxy afterwards, with the start of a command that is not whole yet.
    Open(Vec<u8>),
}

/// What came of some input.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) bytes: Vec<u8>,
    /// The console ends after these bytes.
    pub(crate) ended: bool,
}

impl Terminal {
    /// What is sent before any input.
    pub(crate) fn greeting(&self) -> &'static [u8] {
        match self {
            Self::Vnc => RFB_VERSION,
            Self::Login(_) | Self::Open(_) => b"",
        }
    }

    /// Takes the next bytes, cut anywhere. `admits` judges user and ticket of the login line.
    pub(crate) fn input(&mut self, bytes: &[u8], admits: impl Fn(&str, &str) -> bool) -> Output {
        match self {
            Self::Vnc => Output { bytes: bytes.to_vec(), ended: false },
            Self::Login(line) => {
                line.extend_from_slice(bytes);
                let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
                    return Output { bytes: Vec::new(), ended: line.len() > TERMINAL_LOGIN };
                };
                let rest = line.split_off(end + 1);
                let login = std::str::from_utf8(line).unwrap_or_default();
                let login = login.trim_end_matches('\n').split_once(':');
                if !login.is_some_and(|(user, ticket)| admits(user, ticket)) {
                    return Output { bytes: Vec::new(), ended: true };
                }
                let mut pending = rest;
                let mut output = commands(&mut pending);
                *self = Self::Open(pending);
                output.bytes.splice(..0, *b"OK");
                output
            }
            Self::Open(pending) => {
                pending.extend_from_slice(bytes);
                commands(pending)
            }
        }
    }
}

/// One command at the start of the input.
#[derive(Debug, PartialEq, Eq)]
enum Command<'b> {
    /// `0:LENGTH:DATA`
    Data(&'b [u8]),
    /// `1:COLUMNS:ROWS:` or `2`, the sign of life: nothing to see.
    Unseen,
    Incomplete,
    Malformed,
}

/// Runs the whole commands at the start of `pending` and leaves the rest there.
fn commands(pending: &mut Vec<u8>) -> Output {
    let mut output = Output::default();
    let mut at = 0;
    loop {
        let (command, length) = command(pending.get(at..).unwrap_or_default());
        at += length;
        match command {
            Command::Data(data) => output.bytes.extend_from_slice(data),
            Command::Unseen => {}
            Command::Incomplete => break,
            Command::Malformed => {
                output.ended = true;
                break;
            }
        }
    }
    pending.drain(..at);
    output
}

/// The command at the start of `bytes` and how many of them it takes.
fn command(bytes: &[u8]) -> (Command<'_>, usize) {
    let numbers = match bytes.first() {
        None => return (Command::Incomplete, 0),
        Some(b'0') => 1,
        Some(b'1') => 2,
        Some(b'2') => return (Command::Unseen, 1),
        Some(_) => return (Command::Malformed, 0),
    };
    let mut fields = bytes.splitn(numbers + 2, |byte| *byte == b':');
    let first = fields.next().unwrap_or_default();
    let mut consumed = first.len() + 1;
    let mut number = 0;
    for _ in 0..numbers {
        let Some(digits) = fields.next() else { break };
        consumed += digits.len() + 1;
        if consumed > bytes.len() {
            break;
        }
        match std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u32>().ok()) {
            Some(parsed) if first.len() == 1 => number = parsed,
            _ => return (Command::Malformed, 0),
        }
    }
    if consumed > bytes.len() || fields.next().is_none() {
        let overlong = bytes.len() > HEADER_BYTES;
        return (if overlong { Command::Malformed } else { Command::Incomplete }, 0);
    }
    if numbers == 2 {
        return (Command::Unseen, consumed);
    }
    let size = usize::try_from(number).unwrap_or(usize::MAX);
    if size > TERMINAL_COMMAND {
        return (Command::Malformed, 0);
    }
    match bytes.get(consumed..consumed + size) {
        Some(data) => (Command::Data(data), consumed + size),
        None => (Command::Incomplete, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admitted(user: &str, ticket: &str) -> bool {
        (user, ticket) == ("a@pve", "PVEVNC:1::x")
    }

    fn typed(terminal: &mut Terminal, text: &str) -> (String, bool) {
        let output = terminal.input(text.as_bytes(), admitted);
        (String::from_utf8(output.bytes).unwrap(), output.ended)
    }

    fn open() -> Terminal {
        Terminal::Open(Vec::new())
    }

    #[test]
    fn a_terminal_opens_with_the_ticket_and_echoes() {
        let mut terminal = Terminal::Login(Vec::new());
        assert_eq!(terminal.greeting(), b"");
        assert_eq!(typed(&mut terminal, "a@pve:PVEVNC:"), (String::new(), false));
        assert_eq!(typed(&mut terminal, "1::x\n0:2:ls"), ("OKls".into(), false));
        assert_eq!(typed(&mut terminal, "1:80:24:20:3:a:b2"), ("a:b".into(), false));
        assert_eq!(typed(&mut terminal, "0:4:\r"), (String::new(), false));
        assert_eq!(typed(&mut terminal, "\n00"), ("\r\n00".into(), false));
    }

    #[test]
    fn another_ticket_ends_it_without_a_word() {
        for line in ["b@pve:PVEVNC:1::x\n", "a@pve\n", "\n"] {
            assert_eq!(typed(&mut Terminal::Login(Vec::new()), line), (String::new(), true));
        }
        let endless = "x".repeat(TERMINAL_LOGIN + 1);
        assert_eq!(typed(&mut Terminal::Login(Vec::new()), &endless), (String::new(), true));
    }

    #[test]
    fn what_is_no_command_ends_it() {
        for text in
            ["x", "0:a:", "0::", "00:1:a", "0:-1:a", "1:80:b:", "0:99999999999:", "0:9999999:"]
        {
            assert!(typed(&mut open(), text).1, "{text}");
        }
        assert!(typed(&mut open(), &"0".repeat(40)).1);
    }

    #[test]
    fn a_vnc_server_greets_and_echoes() {
        assert_eq!(Terminal::Vnc.greeting(), b"RFB 003.008\n");
        assert_eq!(typed(&mut Terminal::Vnc, "\u{1}x"), ("\u{1}x".into(), false));
    }

    proptest! {
        #[test]
        fn commands_may_be_cut_anywhere(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            at in any::<prop::sample::Index>(),
        ) {
            let mut wire = Vec::new();
            for text in &texts {
                wire.extend(format!("1:80:24:20:{}:", text.len()).into_bytes());
                wire.extend(text);
            }
            let (first, second) = wire.split_at(at.index(wire.len() + 1));
            let mut terminal = open();
            let mut echo = terminal.input(first, admitted).bytes;
            let last = terminal.input(second, admitted);
            echo.extend(last.bytes);
            prop_assert_eq!(echo, texts.concat());
            prop_assert!(!last.ended);
        }

        #[test]
        fn any_bytes_are_taken_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Terminal::Login(Vec::new()).input(&bytes, |_, _| true);
            open().input(&bytes, |_, _| true);
        }
    }
}
