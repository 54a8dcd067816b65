//! For the fuzz target alone.

use super::layout;
use super::resp::Decoder;

/// Every answer in these bytes, read in pieces of this length, as text; the last one is an error
/// where there is one.
pub fn answers(bytes: &[u8], piece: usize) -> Vec<String> {
    let (mut decoder, mut found) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(reply)) => found.push(format!("{reply:?}")),
                Ok(None) => break,
                Err(error) => {
                    found.push(error.to_string());
                    return found;
                }
            }
        }
    }
    found
}

/// The same bytes as a row and as a record.
pub fn row_and_record(bytes: &[u8]) {
    let _ = layout::entry(Vec::new(), bytes);
    let _ = layout::notes(bytes);
}
