//! `POST /nodes/{node}/storage/{storage}/upload`: rights before the body, then the form as a
//! stream. The file is hashed and counted on its way through; no call of the API gives it out
//! again, so its bytes are not kept.

use aws_lc_rs::digest;
use md5::{Digest as _, Md5};

use crate::auth::Caller;
use crate::failure::Failure;
use crate::limits::UPLOAD_BYTES;
use crate::shared::Shared;
use crate::state::Spooled;
use crate::wire::{FAILED, Head, Multipart, Piece, Response, form};

/// An upload whose body is on its way.
#[derive(Debug)]
pub(crate) struct Upload {
    form: Multipart,
    /// Bytes of the body that have not been taken from the connection.
    remaining: u64,
    size: u64,
    hash: Option<Hash>,
}

/// A form that has been read to its end.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) spooled: Spooled,
}

/// The genuine refusals before a body; `None` reads it. `Err` is the silence of a worker that
/// gave up on the request.
pub(crate) fn admit(
    shared: &Shared,
    head: &Head,
    caller: &Caller,
    path: &str,
    length: i64,
) -> Result<Upload, Option<Response>> {
    let storage = path.split('/').nth(4).unwrap_or_default();
    let path = format!("/storage/{storage}");
    let may = caller.subject().is_some_and(|subject| {
        let held = shared.state().accounts.privileges(subject, &path);
        pve_access::Privilege::parse("Datastore.AllocateTemplate")
            .is_some_and(|one| subject.is_root() || held.contains(one))
    });
    if !may {
        let failure = Failure::permission(&format!("{path}, Datastore.AllocateTemplate"));
        // An exception in the authentication step: delayed like a failed one, and without a body.
        let refusal = Response::bare(failure.status(), failure.message());
        return Err(Some(Response { delayed: true, ..refusal }));
    }
    let boundary = boundary(head).ok_or(None)?;
    let query = form(head.path_and_query().1.unwrap_or_default().as_bytes());
    if query.contains_key("tmpfilename") {
        return Err(None);
    }
    let remaining = u64::try_from(length).unwrap_or(0);
    if remaining > UPLOAD_BYTES {
        return Err(Some(Response::error(501, "for data too large")));
    }
    Ok(Upload { form: Multipart::new(&boundary), remaining, size: 0, hash: None })
}

impl Upload {
    /// Takes what has arrived; `Ok(None)` asks for more.
    pub(crate) fn take(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Form>, String> {
        let before = buffer.len();
        let form = self.read(buffer)?;
        if form.is_some() {
            return Ok(form);
        }
        let taken = u64::try_from(before - buffer.len()).unwrap_or(u64::MAX);
        self.remaining = self.remaining.saturating_sub(taken);
        let left = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        if left >= self.remaining { Err(FAILED.to_owned()) } else { Ok(None) }
    }

    fn read(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Form>, String> {
        loop {
            match self.form.next(buffer)? {
                Piece::Incomplete => return Ok(None),
                Piece::Data(data) => self.add(&data),
                Piece::End => {
                    let digest = self.hash.take().map(Hash::finish);
                    let spooled = Spooled { size: self.size, digest };
                    return Ok(Some(Form { fields: self.form.fields().to_vec(), spooled }));
                }
            }
        }
    }

    fn add(&mut self, data: &[u8]) {
        self.size += u64::try_from(data.len()).unwrap_or(0);
        if self.hash.is_none() {
            let mut fields = self.form.fields().iter();
            let name = fields.find(|(name, _)| name == "checksum-algorithm");
            self.hash = name.and_then(|(_, name)| Hash::named(name));
        }
        if let Some(hash) = &mut self.hash {
            hash.update(data);
        }
    }
}

/// The boundary of `multipart/form-data; boundary=…`, as `parse_content_type` finds it.
fn boundary(head: &Head) -> Option<String> {
    let value = head.header("Content-Type")?;
    let mut parts = value.split([';', ',']);
    if parts.next()?.trim() != "multipart/form-data" {
        return None;
    }
    let boundary = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        (name.trim() == "boundary").then(|| value.trim().to_owned())
    })?;
    (!boundary.is_empty() && !boundary.contains(char::is_whitespace)).then_some(boundary)
}

/// The algorithms of `checksum-algorithm`.
enum Hash {
    Md5(Md5),
    Sha(digest::Context),
}

impl Hash {
    fn named(name: &str) -> Option<Self> {
        let algorithm = match name {
            "md5" => return Some(Self::Md5(Md5::new())),
            "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            "sha224" => &digest::SHA224,
            "sha256" => &digest::SHA256,
            "sha384" => &digest::SHA384,
            "sha512" => &digest::SHA512,
            _ => return None,
        };
        Some(Self::Sha(digest::Context::new(algorithm)))
    }

    fn update(&mut self, data: &[u8]) {
        match self {
            Self::Md5(hash) => hash.update(data),
            Self::Sha(hash) => hash.update(data),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Md5(hash) => hex(&hash.finalize()),
            Self::Sha(hash) => hex(hash.finish().as_ref()),
        }
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(content_type: &str) -> Head {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Head { method: "POST".into(), target: "/".into(), minor: 1, headers }
    }

    #[test]
    fn boundaries_are_found_as_the_genuine_server_finds_them() {
        let found = |text| boundary(&head(text));
        assert_eq!(found("multipart/form-data; boundary=a-b").as_deref(), Some("a-b"));
        assert_eq!(found("multipart/form-data;x=1 , boundary = c").as_deref(), Some("c"));
        // Quotes are part of it there.
        assert_eq!(found("multipart/form-data; boundary=\"q\"").as_deref(), Some("\"q\""));
        assert_eq!(found("multipart/form-data"), None);
        assert_eq!(found("application/x-www-form-urlencoded"), None);
    }

    #[test]
    fn hashes_are_those_of_the_standards() {
        let of = |name: &str| {
            let mut hash = Hash::named(name).unwrap();
            hash.update(b"a");
            hash.update(b"bc");
            hash.finish()
        };
        assert_eq!(of("md5"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(of("sha1"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert!(of("sha256").starts_with("ba7816bf8f01cfea"));
        assert_eq!([of("sha224").len(), of("sha384").len(), of("sha512").len()], [56, 96, 128]);
        assert!(Hash::named("crc32").is_none());
    }

    #[test]
    fn a_body_that_ends_early_fails() {
        let mut upload = Upload { form: Multipart::new("b"), remaining: 5, size: 0, hash: None };
        assert!(matches!(upload.take(&mut b"--b".to_vec()), Ok(None)));
        assert!(upload.take(&mut b"--b\r\n".to_vec()).is_err());
    }
}
