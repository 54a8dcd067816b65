//! The upload form (RFC 7578) as `file_upload_multipart` reads it: three known fields in a fixed
//! order, then the file, everything up to the closing delimiter.

use crate::limits::UPLOAD_FIELD_BYTES;

/// Fields before the file, in the only order the genuine server understands.
const FIELDS: [&str; 3] = ["content", "checksum-algorithm", "checksum"];
const DISPOSITION: &[u8] = b"Content-Disposition: ";
/// What is said of a form that ends early or makes no sense.
pub(crate) const FAILED: &str = "upload failed";

/// What the next bytes of a form hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// More bytes are needed.
    Incomplete,
    /// Bytes of the file.
    Data(Vec<u8>),
    /// The closing delimiter has been read.
    End,
}

/// A form that is being read.
#[derive(Debug)]
pub(crate) struct Multipart {
    /// `--boundary`.
    delimiter: Vec<u8>,
    stage: Stage,
    fields: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Preamble,
    Fields,
    File,
    Closed,
}

impl Multipart {
    pub(crate) fn new(boundary: &str) -> Self {
        let delimiter = [b"--", boundary.as_bytes()].concat();
        Self { delimiter, stage: Stage::Preamble, fields: Vec::new() }
    }

    /// Names and values read so far; the file's name is called `filename` and comes last.
    pub(crate) fn fields(&self) -> &[(String, String)] {
        &self.fields
    }

    /// Takes what it can from the start of `buffer`.
    pub(crate) fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Piece, String> {
        if self.stage == Stage::Preamble {
            match self.delimiter_line(buffer, 0) {
                Some((start, _)) => {
                    buffer.drain(..start);
                    self.stage = Stage::Fields;
                }
                None => return bounded(buffer),
            }
        }
        if self.stage == Stage::Fields {
            for name in FIELDS {
                self.field(name, buffer)?;
            }
            if !self.file(buffer)? {
                return bounded(buffer);
            }
            self.stage = Stage::File;
        }
        if self.stage == Stage::Closed {
            return Ok(Piece::End);
        }
        Ok(self.data(buffer))
    }

    fn data(&mut self, buffer: &mut Vec<u8>) -> Piece {
        let closing = [self.delimiter.as_slice(), b"--"].concat();
        if let Some(end) = find(buffer, &closing, 0) {
            self.stage = Stage::Closed;
            let mut data = std::mem::take(buffer);
            data.truncate(end);
            if data.ends_with(b"\n") {
                data.pop();
                if data.ends_with(b"\r") {
                    data.pop();
                }
            }
            return Piece::Data(data);
        }
        // The end of the buffer may hold the start of a line break and the closing delimiter.
        let ready = buffer.len().saturating_sub(closing.len() + 2);
        if ready == 0 { Piece::Incomplete } else { Piece::Data(buffer.drain(..ready).collect()) }
    }

    /// Takes one field and all that stands before it, once the delimiter after it is there.
    fn field(&mut self, name: &str, buffer: &mut Vec<u8>) -> Result<(), String> {
        let found = (|| {
            let (_, start) = self.delimiter_line(buffer, 0)?;
            let (_, disposition) = find_end(buffer, DISPOSITION, start)?;
            let (named, after) =
                find_end(buffer, format!("; name=\"{name}\"").as_bytes(), disposition)?;
            self.delimiter_line(buffer, after)?;
            Some((disposition..named, after))
        })();
        let Some((disposition, after)) = found else { return Ok(()) };
        assert_form_data(buffer.get(disposition).unwrap_or_default())?;
        let start = blank_line(buffer, after).ok_or(FAILED)?;
        let (end, _) = self.delimiter_line(buffer, start).ok_or(FAILED)?;
        let value = text(buffer.get(start..end).unwrap_or_default());
        self.fields.push((name.to_owned(), value.trim().to_owned()));
        buffer.drain(..end);
        Ok(())
    }

    /// Takes the head of the file's part; false when it is not there, or not yet.
    fn file(&mut self, buffer: &mut Vec<u8>) -> Result<bool, String> {
        let found = (|| {
            let (_, start) = self.delimiter_line(buffer, 0)?;
            let rest = buffer.get(start..)?;
            rest.starts_with(DISPOSITION).then_some(())?;
            let disposition = start + DISPOSITION.len();
            let (named, name) = find_end(buffer, b"; name=\"", disposition)?;
            let (name_end, file) = find_end(buffer, b"\"; filename=\"", name)?;
            let (file_end, after) = find_end(buffer, b"\"", file)?;
            let line = buffer.get(after..)?;
            let breaks = line.starts_with(b"\r\n") || line.starts_with(b"\n");
            let data = blank_line(buffer, after)?;
            (breaks && file < file_end).then_some(())?;
            Some((disposition..named, name..name_end, file..file_end, data))
        })();
        let Some((disposition, name, file, data)) = found else { return Ok(false) };
        assert_form_data(buffer.get(disposition).unwrap_or_default())?;
        let name = text(buffer.get(name).unwrap_or_default());
        if name != "filename" {
            return Err(format!("wrong field name '{name}' for file upload, expected 'filename'"));
        }
        let file = text(buffer.get(file).unwrap_or_default());
        self.fields.push((name, file.trim().to_owned()));
        buffer.drain(..data);
        Ok(true)
    }

    /// The first delimiter with a line break behind it: its start and the place after the break.
    fn delimiter_line(&self, buffer: &[u8], from: usize) -> Option<(usize, usize)> {
        let mut from = from;
        loop {
            let (start, end) = find_end(buffer, &self.delimiter, from)?;
            match buffer.get(end..)? {
                [b'\n', ..] => return Some((start, end + 1)),
                [b'\r', b'\n', ..] => return Some((start, end + 2)),
                _ => from = end,
            }
        }
    }
}

fn assert_form_data(disposition: &[u8]) -> Result<(), String> {
    if disposition == b"form-data" {
        return Ok(());
    }
    let shown = text(disposition);
    Err(format!("wrong Content-Disposition '{shown}' in multipart, expected 'form-data'\n"))
}

/// A head that never ends is refused before it fills the memory.
fn bounded(buffer: &[u8]) -> Result<Piece, String> {
    if buffer.len() > UPLOAD_FIELD_BYTES {
        return Err(FAILED.to_owned());
    }
    Ok(Piece::Incomplete)
}

/// The place after the first two line breaks in a row.
fn blank_line(buffer: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let (_, after) = find_end(buffer, b"\n", at)?;
        match buffer.get(after..)? {
            [b'\n', ..] => return Some(after + 1),
            [b'\r', b'\n', ..] => return Some(after + 2),
            _ => at = after,
        }
    }
}

fn find(buffer: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let (first, rest) = wanted.split_first()?;
    let mut at = from;
    loop {
        at += buffer.get(at..)?.iter().position(|byte| byte == first)?;
        if buffer.get(at + 1..)?.starts_with(rest) {
            return Some(at);
        }
        at += 1;
    }
}

/// Start and end of what was found.
fn find_end(buffer: &[u8], wanted: &[u8], from: usize) -> Option<(usize, usize)> {
    find(buffer, wanted, from).map(|at| (at, at + wanted.len()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(head: &str, value: &str) -> String {
        format!("--b42\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    }

    fn file(data: &str) -> String {
        let head =
            "name=\"filename\"; filename=\"a.iso\"\r\nContent-Type: application/octet-stream";
        part(head, data) + "--b42--\r\n"
    }

    type Form = (Vec<(String, String)>, Vec<u8>);

    /// Fields and file of a form that arrives in pieces of `step` bytes.
    fn read(form: &[u8], step: usize) -> Result<Form, String> {
        let mut parser = Multipart::new("b42");
        let (mut buffer, mut data) = (Vec::new(), Vec::new());
        for chunk in form.chunks(step) {
            buffer.extend_from_slice(chunk);
            loop {
                match parser.next(&mut buffer)? {
                    Piece::Incomplete => break,
                    Piece::Data(more) => data.extend(more),
                    Piece::End => return Ok((parser.fields().to_vec(), data)),
                }
            }
        }
        Err(FAILED.to_owned())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn fields_and_file_arrive_in_pieces_of_any_size() {
        let form = "preamble\r\n".to_owned()
            + &part("name=\"content\"", "iso")
            + &part("name=\"checksum-algorithm\"", "md5")
            + &part("name=\"checksum\"", " abc ")
            + &file("one\r\n--b4\r\n--b42\r\ntwo\n");
        let wanted = pairs(&[
            ("content", "iso"),
            ("checksum-algorithm", "md5"),
            ("checksum", "abc"),
            ("filename", "a.iso"),
        ]);
        for step in [1, 2, 7, 64, 4096] {
            let (fields, data) = read(form.as_bytes(), step).unwrap();
            assert_eq!(fields, wanted, "{step}");
            assert_eq!(data, b"one\r\n--b4\r\n--b42\r\ntwo\n", "{step}");
        }
    }

    #[test]
    fn what_the_genuine_server_refuses() {
        let wrong_name = part("name=\"file\"; filename=\"a.iso\"", "x") + "--b42--";
        let refused = read(wrong_name.as_bytes(), 99).unwrap_err();
        assert_eq!(refused, "wrong field name 'file' for file upload, expected 'filename'");
        let attachment = "--b42\r\nContent-Disposition: attachment; name=\"content\"\r\n\r\niso\r\n"
            .to_owned() + &file("x");
        assert!(read(attachment.as_bytes(), 9999).unwrap_err().contains("'attachment'"));
        // Fields in another order are taken for a broken disposition.
        let swapped = part("name=\"checksum\"", "1") + &part("name=\"content\"", "iso") + &file("");
        assert!(read(swapped.as_bytes(), 9999).is_err());
        assert_eq!(read(part("name=\"content\"", "iso").as_bytes(), 9999), Err(FAILED.to_owned()));
    }

    #[test]
    fn an_endless_head_is_refused() {
        let mut parser = Multipart::new("b42");
        assert!(parser.next(&mut vec![b'x'; UPLOAD_FIELD_BYTES + 1]).is_err());
    }

    proptest! {
        #[test]
        fn any_file_comes_out_as_it_went_in(data: Vec<u8>, step in 1_usize..200) {
            let head = file("");
            let (head, tail) = head.split_at(head.len() - "\r\n--b42--\r\n".len());
            let form = [head.as_bytes(), &data, tail.as_bytes()].concat();
            prop_assert_eq!(read(&form, step).unwrap().1, data);
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            form in proptest::collection::vec(
                prop_oneof![Just(b"--b42".to_vec()), Just(b"\r\n".to_vec()),
                    Just(DISPOSITION.to_vec()), Just(b"form-data; name=\"content\"".to_vec()),
                    any::<Vec<u8>>()],
                0..12,
            ),
            step in 1_usize..50,
        ) {
            let _ = read(&form.concat(), step);
        }
    }
}
