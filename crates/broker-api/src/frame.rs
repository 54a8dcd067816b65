//! Frames: four bytes of length, big-endian, then so many bytes of JSON.
//!
//! Requests are shorter than 16 MiB, so a frame begins with a zero byte, and a line of
//! pulse-sensor-proxy's protocol never does.

use crate::limits::{ANSWER_BYTES, REQUEST_BYTES};

/// Bytes of the length.
pub const HEAD: usize = 4;

/// The length says more than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame of {length} bytes, at most {limit}")]
pub struct TooLarge {
    /// What the length says.
    pub length: u64,
    /// What is allowed.
    pub limit: usize,
}

/// The first request in `bytes` and where the next begins; `None` while it is not whole.
///
/// # Errors
/// [`TooLarge`], as soon as the length is there.
pub fn request(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, TooLarge> {
    split(bytes, REQUEST_BYTES)
}

/// The first answer in `bytes`, likewise.
///
/// # Errors
/// As [`request`].
pub fn answer(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, TooLarge> {
    split(bytes, ANSWER_BYTES)
}

/// Appends a frame.
///
/// # Errors
/// [`TooLarge`], for a body over [`ANSWER_BYTES`]; nothing is appended then.
pub fn push(out: &mut Vec<u8>, body: &[u8]) -> Result<(), TooLarge> {
    let over = || TooLarge { length: body.len() as u64, limit: ANSWER_BYTES };
    if body.len() > ANSWER_BYTES {
        return Err(over());
    }
    let length = u32::try_from(body.len()).map_err(|_| over())?;
    out.reserve(HEAD + body.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
    Ok(())
}

fn split(bytes: &[u8], limit: usize) -> Result<Option<(&[u8], usize)>, TooLarge> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*head);
    let body = usize::try_from(length).unwrap_or(usize::MAX);
    if body > limit {
        return Err(TooLarge { length: length.into(), limit });
    }
    Ok(rest.get(..body).map(|body| (body, HEAD + body.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_are_told_before_the_body_arrives() {
        let over = u32::try_from(REQUEST_BYTES + 1).unwrap().to_be_bytes();
        assert!(request(&over).is_err());
        assert!(answer(&over).is_ok());
        assert_eq!(request(&[0, 0]), Ok(None));
        assert_eq!(request(&[0, 0, 0, 2, b'{']), Ok(None));
        assert_eq!(request(&[0, 0, 0, 0, 9]), Ok(Some((&[][..], 4))));
        assert!(push(&mut Vec::new(), &vec![0; ANSWER_BYTES + 1]).is_err());
    }

    proptest! {
        #[test]
        fn frames_in_a_row_come_out_as_they_went_in(bodies: Vec<Vec<u8>>, tail in 0_usize..5) {
            let mut bytes = Vec::new();
            for body in &bodies {
                push(&mut bytes, body).unwrap();
            }
            bytes.extend(std::iter::repeat_n(0, tail.min(3)));
            let (mut at, mut seen) = (0, Vec::new());
            while let Some((body, used)) = request(&bytes[at..]).unwrap() {
                seen.push(body.to_vec());
                at += used;
            }
            prop_assert_eq!(seen, bodies);
        }

        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>) {
            if let Ok(Some((body, used))) = request(&bytes) {
                prop_assert_eq!(body.len() + HEAD, used);
            }
        }
    }
}
