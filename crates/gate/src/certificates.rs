//! The files behind TLS: which certificate is shown as Proxmox VE would choose it, whose
//! certificates clients may show, and another of either when the files change.
//!
//! The files are read whole every few seconds and compared by their content: in the cluster file
//! system changes by other nodes make no event, and its times are whole seconds. What can not be
//! used (half written, of another key, expired) leaves in force what there is, and says so once.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Weak;

use aws_lc_rs::digest::{Context, SHA256};
use secrets::private_file::{self, FileError, Readers};
use serde_json::{Value, json};
use telemetry::Rfc3339;
use thiserror::Error;
use tls::{CertificateError, ClientAuth, Identity};
use tracing::{info, warn};

use crate::config::Config;
use crate::limits::{CERTIFICATE_WARNING, REVOCATION_FILE};
use crate::live::Live;
use crate::worker::Shared;

/// The certificate of the node that Proxmox VE made itself.
const NODE: (&str, &str) = ("pve-ssl.pem", "pve-ssl.key");

/// The one an administrator or ACME has put beside it.
const CUSTOM: (&str, &str) = ("pveproxy-ssl.pem", "pveproxy-ssl.key");

/// A certificate and its key.
type Pair = (PathBuf, PathBuf);

/// Files of a server's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Shown where both its files are there.
    preferred: Option<Pair>,
    /// Shown otherwise.
    pair: Pair,
    readers: Readers,
    clients: Option<ClientFiles>,
}

/// Files of those whose certificates clients show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// PEM of the authorities.
    pub authorities: PathBuf,
    /// Revocation lists.
    pub revocations: Option<PathBuf>,
    /// Whether a client without a certificate is refused.
    pub required: bool,
}

/// What the files held.
#[derive(Clone, Debug)]
pub struct TlsLoaded {
    /// The certificate to show.
    pub identity: Identity,
    /// Whose certificates are accepted.
    pub clients: Option<ClientAuth>,
    /// The certificate's file.
    pub file: PathBuf,
    /// Of all that was read.
    pub(crate) digest: Option<[u8; 32]>,
}

/// Files that can not be used, with the one at fault.
#[derive(Debug, Error)]
pub enum TlsFilesError {
    /// A certificate and its key.
    #[error("{}: {source}", path.display())]
    Pair {
        /// The certificate.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// Authorities or revocation lists of clients.
    #[error("{}: {source}", path.display())]
    Clients {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not valid now.
    #[error("{}: valid from {} to {}", path.display(), from, to)]
    NotValid {
        /// The certificate.
        path: PathBuf,
        /// Its first second.
        from: Rfc3339,
        /// Its last second.
        to: Rfc3339,
    },
}

impl TlsFilesError {
    /// The gate's user may not read them.
    fn is_forbidden(&self) -> bool {
        let (Self::Pair { source: CertificateError::File { source, .. }, .. }
        | Self::Pair {
            source: CertificateError::KeyFile(FileError::Io { source, .. }), ..
        }
        | Self::Clients { source, .. }) = self
        else {
            return false;
        };
        source.kind() == io::ErrorKind::PermissionDenied
    }
}

impl TlsFiles {
    /// All of them.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        let pairs = [self.preferred.as_ref(), Some(&self.pair)].into_iter().flatten();
        let clients = self.clients.iter();
        let clients =
            clients.flat_map(|files| [Some(&files.authorities), files.revocations.as_ref()]);
        let pairs = pairs.flat_map(|(certificate, key)| [certificate, key]);
        pairs.chain(clients.flatten()).map(PathBuf::as_path)
    }

    /// One certificate with its key.
    #[must_use]
    pub fn pair(certificate: &Path, key: &Path, readers: Readers) -> Self {
        let pair = (certificate.to_owned(), key.to_owned());
        Self { preferred: None, pair, readers, clients: None }
    }

    /// Those of a node, from its directory (`/etc/pve/local`), as pveproxy chooses them
    /// (`PVE::Service::pveproxy`): `pveproxy-ssl.pem` where it is there with its key, else
    /// `pve-ssl.pem`. `key` stands for another place of the former's key (`TLS_KEY_FILE`).
    #[must_use]
    pub fn node(directory: &Path, key: Option<&Path>, readers: Readers) -> Self {
        let custom = key.map_or_else(|| directory.join(CUSTOM.1), Path::to_owned);
        let preferred = Some((directory.join(CUSTOM.0), custom));
        let pair = (directory.join(NODE.0), directory.join(NODE.1));
        Self { preferred, pair, readers, clients: None }
    }

    /// Whose certificates clients may show.
    #[must_use]
    pub fn with_clients(self, clients: Option<ClientFiles>) -> Self {
        Self { clients, ..self }
    }

    /// Reads them.
    ///
    /// # Errors
    /// The file at fault.
    pub fn load(&self) -> Result<TlsLoaded, TlsFilesError> {
        let (certificate, key) = self.chosen();
        let at_fault = |source| TlsFilesError::Pair { path: certificate.clone(), source };
        let key_pem = private_file::read_for(key, tls::KEY_FILE_MAX, self.readers)
            .map_err(|error| at_fault(error.into()))?;
        let chain = read(certificate, tls::CERTIFICATE_FILE_MAX).map_err(|source| {
            at_fault(CertificateError::File { path: certificate.clone(), source })
        })?;
        let identity = Identity::from_pem(&chain, &key_pem).map_err(at_fault)?;
        let mut digest = Context::new(&SHA256);
        for part in [certificate.as_os_str().as_encoded_bytes(), &chain, key_pem.expose()] {
            add(&mut digest, part);
        }
        let clients = self.clients.as_ref().map(|files| files.load(&mut digest)).transpose()?;
        let digest = digest.finish().as_ref().try_into().ok();
        Ok(TlsLoaded { identity, clients, file: certificate.clone(), digest })
    }

    fn chosen(&self) -> &Pair {
        let there = |(certificate, key): &&Pair| certificate.is_file() && key.is_file();
        self.preferred.as_ref().filter(there).unwrap_or(&self.pair)
    }
}

impl ClientFiles {
    fn load(&self, digest: &mut Context) -> Result<ClientAuth, TlsFilesError> {
        let whole = |path: &PathBuf, limit| {
            read(path, limit)
                .map_err(|source| TlsFilesError::Clients { path: path.clone(), source })
        };
        let authorities = whole(&self.authorities, tls::TRUST_MAX)?;
        let list = |path| whole(path, REVOCATION_FILE);
        let revocations = self.revocations.as_ref().map(list).transpose()?;
        add(digest, &authorities);
        add(digest, revocations.as_deref().unwrap_or_default());
        Ok(ClientAuth { authorities, revocations, required: self.required })
    }
}

/// Looks at the files again and again.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    /// Why the files could not be used when they were looked at last.
    refused: Option<String>,
    /// They were looked at before.
    looked: bool,
    /// The day, counted from 1970, on which the end was warned of last.
    warned: Option<u64>,
}

impl Renewal {
    /// Shows what the files hold now, if that can be used. `None` when the gate has ended. While
    /// the files are read, which may hang, nothing is held that others wait for.
    pub(crate) fn look(&mut self, gate: &Weak<Shared>) -> Option<()> {
        let (live, now) = {
            let shared = gate.upgrade()?;
            (shared.live.newest(), shared.clock.unix_secs())
        };
        let found = live.files.as_ref().map(|files| (files, renewed(files, &live, now)));
        let shared = gate.upgrade()?;
        match found {
            None => {}
            Some((_, Ok(None))) => self.usable(&shared),
            Some((files, Ok(Some(loaded)))) => self.show(files, loaded, &shared),
            Some((_, Err(error))) if !self.looked && error.is_forbidden() => {
                // Read before the gate became another user, who is kept from it: nothing is wrong
                // now, but a renewal will not be seen.
                self.refused = Some(error.to_string());
                info!(%error, "renewed certificate files will need a successor");
            }
            Some((_, Err(error))) => self.refuse(error.to_string(), &shared),
        }
        self.looked = true;
        self.warn_of_the_end(&shared);
        Some(())
    }

    fn show(&mut self, files: &TlsFiles, loaded: TlsLoaded, shared: &Shared) {
        let fingerprint = loaded.identity.fingerprint();
        // A reload may have come in between, with other files: theirs are newer.
        let shown = shared.live.update(|live| match live.files.as_ref() == Some(files) {
            true => live.showing(loaded).map(Some),
            false => Ok::<_, CertificateError>(None),
        });
        match shown {
            Ok(_) => {
                self.usable(shared);
                shared.metrics.certificate_changed("shown");
                shared.metrics.certificate(shared.live.newest().identity.validity());
                info!(%fingerprint, file = %files.chosen().0.display(), "certificate files changed");
            }
            Err(error) => self.refuse(error.to_string(), shared),
        }
    }

    fn refuse(&mut self, why: String, shared: &Shared) {
        if self.refused.as_ref() != Some(&why) {
            shared.metrics.certificate_changed("refused");
            warn!(%why, "new certificate files can not be used; the former stay in force");
            shared.files.refuse(Some(why.clone()));
            shared.metrics.certificate_refused(true);
            self.refused = Some(why);
        }
    }

    fn usable(&mut self, shared: &Shared) {
        if self.refused.take().is_some() {
            shared.files.refuse(None);
            shared.metrics.certificate_refused(false);
        }
    }

    /// Once a day.
    fn warn_of_the_end(&mut self, shared: &Shared) {
        let now = shared.clock.unix_secs();
        let live = shared.live.newest();
        let end = live.identity.validity().map(|validity| validity.not_after);
        let Some((end, text)) = end.and_then(|end| Some((end, warning(end, now)?))) else {
            return;
        };
        let day = now / (24 * 3600);
        if self.warned != Some(day) {
            self.warned = Some(day);
            warn!(fingerprint = %live.identity.fingerprint(), until = %at(end), "{text}");
        }
    }
}

/// What a gate with this configuration shows: `{"fingerprint","names","file","not_before",
/// "not_after"}`, times in seconds since 1970, as in the answer to
/// [`Request::Status`](crate::control::Request::Status).
#[must_use]
pub fn certificate_shown(config: &Config) -> Value {
    described(&config.identity, config.tls_file.as_deref())
}

/// The same of a gate that runs.
pub(crate) fn shown(live: &Live) -> Value {
    described(&live.identity, live.file.as_deref())
}

fn described(identity: &Identity, file: Option<&Path>) -> Value {
    let validity = identity.validity();
    json!({
        "fingerprint": identity.fingerprint().to_string(),
        "names": identity.names(),
        "file": file,
        "not_before": validity.map(|validity| validity.not_before),
        "not_after": validity.map(|validity| validity.not_after),
    })
}

/// What to say about a certificate that ends then.
fn warning(end: u64, now: u64) -> Option<&'static str> {
    if now > end {
        return Some("the certificate has expired");
    }
    (end - now <= CERTIFICATE_WARNING.as_secs()).then_some("the certificate expires soon")
}

/// What differs from what is shown and may take its place.
fn renewed(files: &TlsFiles, live: &Live, now: u64) -> Result<Option<TlsLoaded>, TlsFilesError> {
    let loaded = files.load()?;
    if loaded.digest == live.digest {
        return Ok(None);
    }
    // An old certificate that is shown already must not keep a new revocation list away.
    let other = loaded.identity.fingerprint() != live.identity.fingerprint();
    match loaded.identity.validity() {
        Some(validity) if other && !validity.holds(now) => Err(TlsFilesError::NotValid {
            path: files.chosen().0.clone(),
            from: at(validity.not_before),
            to: at(validity.not_after),
        }),
        _ => Ok(Some(loaded)),
    }
}

fn at(unix: u64) -> Rfc3339 {
    Rfc3339(std::time::Duration::from_secs(unix))
}

/// Its length too, so that no two lists of parts make the same text.
fn add(digest: &mut Context, part: &[u8]) {
    digest.update(&part.len().to_le_bytes());
    digest.update(part);
}

/// One byte more than the limit, so that it shows as exceeded rather than as a file cut in two.
fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    match bytes.len() > limit {
        true => Err(io::Error::other(format!("more than {limit} bytes"))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tls::Authority;

    const DAY: u64 = 24 * 3600;

    #[test]
    fn the_end_is_warned_of_from_14_days_before() {
        let end = 1_000 * DAY;
        assert_eq!(warning(end, end - 14 * DAY - 1), None);
        assert_eq!(warning(end, end - 14 * DAY), Some("the certificate expires soon"));
        assert_eq!(warning(end, end), Some("the certificate expires soon"));
        assert_eq!(warning(end, end + 1), Some("the certificate has expired"));
    }

    #[test]
    fn the_digest_is_of_everything_that_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let now = Duration::from_secs(1_795_000_000);
        let authority = Authority::generate("x", now).unwrap();
        let put = || {
            let identity = authority.issue(&["pve1"], now).unwrap();
            identity.write(&path("pve-ssl.pem"), &path("pve-ssl.key")).unwrap();
        };
        put();
        std::fs::write(path("ca"), authority.certificate_pem()).unwrap();
        std::fs::write(path("crl"), "one").unwrap();
        let clients =
            ClientFiles { authorities: path("ca"), revocations: Some(path("crl")), required: true };
        let files = TlsFiles::node(directory.path(), None, Readers::Owner);
        let files = files.with_clients(Some(clients));
        let digest = || files.load().unwrap().digest.unwrap();
        let first = digest();
        assert_eq!(first, digest());
        std::fs::write(path("crl"), "two").unwrap();
        let second = digest();
        put();
        let third = digest();
        std::fs::write(path("ca"), "none").unwrap();
        assert!(first != second && second != third && third != digest());
        std::fs::remove_file(path("crl")).unwrap();
        assert!(files.load().unwrap_err().to_string().contains("crl: "));
    }
}
