//! The frames a client sends in a websocket, judged by their heads as they pass: the rules of
//! RFC 6455 §5.2 that pveproxy holds its clients to, and its bound on one frame. The payload is
//! counted, not unmasked.

use thiserror::Error;

/// Bytes of payload in one frame: pveproxy's `max_payload_size`.
const PAYLOAD_BYTES: u64 = 128 * 1024;

/// Payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES: u64 = 125;

/// Longest head of a frame: two bytes, eight of length, four of mask.
const HEAD_BYTES: usize = 14;

/// Why a frame ends the connection.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum FrameError {
    #[error("a websocket frame of more than {PAYLOAD_BYTES} bytes")]
    TooLarge,
    #[error("a websocket frame without a mask")]
    Unmasked,
    #[error("a websocket frame of an extension that nobody agreed on")]
    Reserved,
    #[error("a fragmented or overlong control frame")]
    Control,
}

/// Where in the stream of frames we are.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: [u8; HEAD_BYTES],
    have: usize,
    /// Payload of the frame that is still to come.
    payload: u64,
}

impl Frames {
    /// Judges the next bytes of the stream.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), FrameError> {
        loop {
            let skip = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
            self.payload -= skip as u64;
            bytes = bytes.get(skip..).unwrap_or_default();
            let Some((byte, rest)) = bytes.split_first() else { return Ok(()) };
            if let Some(slot) = self.head.get_mut(self.have) {
                *slot = *byte;
            }
            self.have += 1;
            bytes = rest;
            if let Some(payload) = self.judge()? {
                (self.payload, self.have) = (payload, 0);
            }
        }
    }

    /// The length of the payload, once the head is whole.
    fn judge(&self) -> Result<Option<u64>, FrameError> {
        let [first, second, length @ ..] = &self.head;
        if first & 0x70 != 0 {
            return Err(FrameError::Reserved);
        }
        if self.have < 2 {
            return Ok(None);
        }
        if second & 0x80 == 0 {
            return Err(FrameError::Unmasked);
        }
        let (size, payload) = match second & 0x7F {
            126 => (8, u64::from(u16::from_be_bytes([length[0], length[1]]))),
            127 => {
                let [a, b, c, d, e, f, g, h, ..] = *length;
                (14, u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
            short => (6, u64::from(short)),
        };
        if self.have < size {
            return Ok(None);
        }
        if payload > PAYLOAD_BYTES {
            return Err(FrameError::TooLarge);
        }
        let control = first & 0x08 != 0;
        if control && (payload > CONTROL_BYTES || first & 0x80 == 0) {
            return Err(FrameError::Control);
        }
        Ok(Some(payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match length {
            0..=125 => frame.push(0x80 | u8::try_from(length).unwrap()),
            126..=0xFFFF => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.resize(frame.len() + length, 0xFF);
        frame
    }

    #[test]
    fn up_to_the_bound_and_no_further() {
        assert_eq!(Frames::default().pass(&frame(0x82, 128 * 1024)), Ok(()));
        assert_eq!(Frames::default().pass(&frame(0x82, 128 * 1024 + 1)), Err(FrameError::TooLarge));
        let endless = [0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
        assert_eq!(Frames::default().pass(&endless), Err(FrameError::TooLarge));
    }

    #[test]
    fn what_pveproxy_would_not_take() {
        assert_eq!(Frames::default().pass(&[0x82, 0x01, 0xFF]), Err(FrameError::Unmasked));
        assert_eq!(Frames::default().pass(&frame(0xC2, 1)), Err(FrameError::Reserved));
        assert_eq!(Frames::default().pass(&frame(0x89, 126)), Err(FrameError::Control));
        assert_eq!(Frames::default().pass(&frame(0x09, 1)), Err(FrameError::Control));
    }

    proptest! {
        #[test]
        fn however_the_stream_is_cut(
            lengths in prop::collection::vec(prop_oneof![0..200_usize, 60_000..70_000_usize], 1..4),
            cut in 1..5000_usize,
        ) {
            let stream: Vec<u8> = lengths.iter().flat_map(|length| frame(0x82, *length)).collect();
            let mut frames = Frames::default();
            for part in stream.chunks(cut) {
                prop_assert_eq!(frames.pass(part), Ok(()));
            }
            prop_assert_eq!((frames.have, frames.payload), (0, 0));
            prop_assert_eq!(frames.pass(&frame(0x82, 200_000)), Err(FrameError::TooLarge));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Frames::default().pass(&bytes);
        }
    }
}
