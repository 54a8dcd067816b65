//! The websocket handshake and frames (RFC 6455) with pveproxy's narrower rules: every frame is
//! whole, masked when it comes from a client, and at most 128 KiB; no extension is known.

use aws_lc_rs::digest;
use base64::Engine as _;

use super::head::Head;
use crate::limits::FRAME_PAYLOAD;

/// Appended to the client's key before hashing (RFC 6455 section 1.3).
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;
/// Length bytes that announce a 16-bit and a 64-bit length.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
const MASK_BYTES: usize = 4;

/// An accepted handshake, and where the connection leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upgrade {
    proto: &'static str,
    accept: String,
    protocol: String,
    pub(crate) port: u16,
}

impl Upgrade {
    /// What a request asks for: `None` is no upgrade, an error is the text of the 500. Only a
    /// path that ends in `websocket` is looked at, as there. The subprotocol is not checked: it
    /// is echoed whole, lists included.
    pub(crate) fn asked(head: &Head, path: &str) -> Result<Option<Self>, String> {
        let wanted = head.header("Upgrade").filter(|value| is_true(value));
        let Some(wanted) = wanted.filter(|_| head.method == "GET" && path.ends_with("websocket"))
        else {
            return Ok(None);
        };
        let wanted = wanted.to_lowercase();
        if wanted != "websocket" {
            return Err(format!("unable to upgrade to protocol '{wanted}'\n"));
        }
        let version = head.header("Sec-WebSocket-Version").unwrap_or_default();
        if version != "13" {
            return Err(format!("unsupported websocket-version '{version}'\n"));
        }
        let key = head.header("Sec-WebSocket-Key").filter(|key| is_true(key));
        let key = key.ok_or_else(|| "missing websocket-key\n".to_owned())?;
        let protocol = head.header("Sec-WebSocket-Protocol").unwrap_or_default();
        // A carriage return inside a header line would begin a header of the caller's choice.
        let protocol = protocol.split(['\r', '\n']).next().unwrap_or_default().to_owned();
        Ok(Some(Self { proto: head.proto(), accept: accept(&key), protocol, port: 0 }))
    }

    /// The bytes of the 101, in the genuine order.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { proto, accept, protocol, .. } = self;
        let protocol = match protocol.as_str() {
            "" => String::new(),
            protocol => format!("Sec-WebSocket-Protocol: {protocol}\r\n"),
        };
        format!(
            "{proto} 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
        )
        .into_bytes()
    }
}

/// Perl's truth of a text.
fn is_true(text: &str) -> bool {
    !matches!(text, "" | "0")
}

fn accept(key: &str) -> String {
    let text = format!("{key}{ACCEPT_SUFFIX}");
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// What a frame is (RFC 6455 section 5.2); a continuation has no place where nothing is
/// fragmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

const OPCODES: [Opcode; 5] =
    [Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];

/// One frame, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: Opcode,
    pub(crate) payload: Vec<u8>,
}

/// Why a client's frame ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameFault {
    #[error("received fragmented websocket frame")]
    Fragmented,
    #[error("received websocket frame with RSV flags")]
    Reserved,
    #[error("received unmasked websocket frame from client")]
    Unmasked,
    #[error("received too large websocket frame (len = {0})")]
    TooLarge(u64),
    #[error("received unhandled websocket opcode {0}")]
    Opcode(u8),
}

/// The first frame of a client in `buffer` with the bytes it takes there, `None` while it is not
/// whole. Faults are found in the genuine order, each as early as its bytes are there.
pub(crate) fn read_frame(buffer: &[u8]) -> Result<Option<(Frame, usize)>, FrameFault> {
    let [first, second, rest @ ..] = buffer else { return Ok(None) };
    if first & FIN == 0 {
        return Err(FrameFault::Fragmented);
    }
    if first & RESERVED != 0 {
        return Err(FrameFault::Reserved);
    }
    if second & MASKED == 0 {
        return Err(FrameFault::Unmasked);
    }
    let Some((length, rest)) = length(second & LENGTH, rest) else { return Ok(None) };
    let size = usize::try_from(length).ok().filter(|size| *size <= FRAME_PAYLOAD);
    let size = size.ok_or(FrameFault::TooLarge(length))?;
    let Some((mask, rest)) = rest.split_first_chunk::<MASK_BYTES>() else { return Ok(None) };
    let Some((masked, rest)) = rest.split_at_checked(size) else { return Ok(None) };
    let opcode = OPCODES.into_iter().find(|known| *known as u8 == first & OPCODE);
    let opcode = opcode.ok_or(FrameFault::Opcode(first & OPCODE))?;
    let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Ok(Some((Frame { opcode, payload }, buffer.len() - rest.len())))
}

/// The payload's length and what follows it.
fn length(byte: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    match byte {
        LENGTH_16 => {
            let (bytes, rest) = rest.split_first_chunk::<2>()?;
            Some((u64::from(u16::from_be_bytes(*bytes)), rest))
        }
        LENGTH_64 => {
            let (bytes, rest) = rest.split_first_chunk::<8>()?;
            Some((u64::from_be_bytes(*bytes), rest))
        }
        short => Some((u64::from(short), rest)),
    }
}

/// Appends one frame of the server, which is not masked.
pub(crate) fn write_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FIN | opcode as u8);
    write_length(0, payload.len(), out);
    out.extend_from_slice(payload);
}

fn write_length(flag: u8, length: usize, out: &mut Vec<u8>) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < LENGTH_16 => out.push(flag | short),
        (_, Ok(medium)) => {
            out.push(flag | LENGTH_16);
            out.extend(medium.to_be_bytes());
        }
        _ => {
            out.push(flag | LENGTH_64);
            out.extend((length as u64).to_be_bytes());
        }
    }
}

/// One masked frame, as a client sends it.
#[cfg(test)]
pub(crate) fn client_frame(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut out = vec![FIN | opcode as u8];
    write_length(MASKED, payload.len(), &mut out);
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asking(headers: &[(&str, &str)]) -> Head {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers = headers.iter().map(own).collect();
        Head { method: "GET".into(), target: "/".into(), minor: 1, headers }
    }

    const SAMPLE: [(&str, &str); 4] = [
        ("Upgrade", "WebSocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "binary, base64"),
    ];

    fn replaced(at: usize, value: &'static str) -> Result<Option<Upgrade>, String> {
        let mut headers = SAMPLE;
        headers[at].1 = value;
        Upgrade::asked(&asking(&headers), "/vncwebsocket")
    }

    #[test]
    fn the_sample_of_the_rfc_is_answered_in_the_genuine_order() {
        let upgrade = Upgrade::asked(&asking(&SAMPLE), "/nodes/a/vncwebsocket").unwrap().unwrap();
        assert_eq!(
            String::from_utf8(upgrade.encode()).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: binary, base64\r\n\r\n"
        );
        let silent = replaced(3, "").unwrap().unwrap();
        assert!(!String::from_utf8(silent.encode()).unwrap().contains("Protocol:"));
        let injected = replaced(3, "a\rSet-Cookie: b").unwrap().unwrap();
        assert!(!String::from_utf8(injected.encode()).unwrap().contains("Set-Cookie"));
    }

    #[test]
    fn what_can_not_be_upgraded_says_so() {
        assert_eq!(replaced(0, "h2c").unwrap_err(), "unable to upgrade to protocol 'h2c'\n");
        assert_eq!(replaced(2, "8").unwrap_err(), "unsupported websocket-version '8'\n");
        assert_eq!(replaced(1, "").unwrap_err(), "missing websocket-key\n");
        let mut head = asking(&SAMPLE);
        assert_eq!(Upgrade::asked(&head, "/version"), Ok(None));
        head.method = "POST".into();
        assert_eq!(Upgrade::asked(&head, "/vncwebsocket"), Ok(None));
        assert_eq!(Upgrade::asked(&asking(&[]), "/vncwebsocket"), Ok(None));
    }

    #[test]
    fn faults_are_found_as_early_as_their_bytes() {
        let fault = |bytes: &[u8]| read_frame(bytes).unwrap_err();
        assert_eq!(fault(&[0x02, 0x80]), FrameFault::Fragmented);
        assert_eq!(fault(&[0xC2, 0x80]), FrameFault::Reserved);
        assert_eq!(fault(&[0x82, 0x00]), FrameFault::Unmasked);
        assert_eq!(fault(&[0x83, 0x80, 0, 0, 0, 0]), FrameFault::Opcode(3));
        let large = [&[0x82, 0xFF][..], &131_073_u64.to_be_bytes()].concat();
        assert_eq!(fault(&large), FrameFault::TooLarge(131_073));
        let allowed = [&[0x82, 0xFF][..], &131_072_u64.to_be_bytes()].concat();
        assert_eq!(read_frame(&allowed), Ok(None));
    }

    #[test]
    fn a_server_frame_has_the_shortest_length() {
        for (size, head) in [
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 255, 255]),
        ] {
            let mut out = Vec::new();
            write_frame(Opcode::Binary, &vec![7; size], &mut out);
            assert!(out.starts_with(&head), "{size}");
            assert_eq!(out.len(), head.len() + size);
        }
        let mut out = Vec::new();
        write_frame(Opcode::Pong, &vec![7; 65_536], &mut out);
        assert!(out.starts_with(&[0x8A, 127, 0, 0, 0, 0, 0, 1, 0, 0]));
    }

    proptest! {
        #[test]
        fn a_client_frame_reads_back(
            at in 0..OPCODES.len(),
            payload in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                prop::collection::vec(any::<u8>(), 65_530..65_540),
            ],
            mask in any::<[u8; 4]>(),
            more in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let opcode = OPCODES[at];
            let bytes = client_frame(opcode, &payload, mask);
            for end in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                prop_assert_eq!(read_frame(&bytes[..end]), Ok(None));
            }
            let (frame, consumed) = read_frame(&[bytes.clone(), more].concat()).unwrap().unwrap();
            prop_assert_eq!(consumed, bytes.len());
            prop_assert_eq!(frame, Frame { opcode, payload });
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some((frame, consumed))) = read_frame(&bytes) {
                prop_assert!(consumed <= bytes.len() && frame.payload.len() < consumed);
            }
        }
    }
}
