//! `gate.user`, `gate.allow_degraded`, and which directories the gate goes on to read.

use std::path::{Path, PathBuf};

use super::{Config, ConfigError, Settings};
use crate::certificates::TlsFiles;
use crate::confine::Layer;

impl Settings {
    /// Who the gate becomes, without what it may run, and what it may still read then.
    pub(super) fn confinement(&self, config: &mut Config) -> Result<(), ConfigError> {
        if let Some(user) = &self.user {
            config.user.clone_from(user);
        }
        let layer = |name: &String| {
            Layer::find(name).ok_or_else(|| {
                let names = Layer::ALL.map(Layer::name).join(", ");
                ConfigError::new("allow_degraded", &format!("{name:?}; write of {names}"))
            })
        };
        config.allow_degraded = self.allow_degraded.iter().map(layer).collect::<Result<_, _>>()?;
        // Read again when they change, and with a reload.
        let rules = config.policy.user_cfg();
        let files = [&self.upstream_ca, &self.store.ca, &self.pveproxy_defaults, &rules];
        let certificates = config.tls_files.iter().flat_map(TlsFiles::paths);
        let ticket_key = config.ticket_key().into_iter();
        let files = files.into_iter().flatten().map(PathBuf::as_path).chain(certificates);
        let files = files.chain(ticket_key);
        config.readable = files.flat_map(directories).collect();
        Ok(())
    }
}

/// Where a file lies, and where it lies behind links: a renewed one is put there by its name.
fn directories(file: &Path) -> Vec<PathBuf> {
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let mut parents: Vec<_> =
        [file, &real].into_iter().filter_map(Path::parent).map(Path::to_owned).collect();
    parents.dedup();
    parents
}

#[cfg(test)]
mod tests {
    use super::directories;

    #[test]
    fn a_file_behind_a_link_has_two_directories() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (link, file) = (here.path().join("cert.pem"), there.path().join("1.pem"));
        std::fs::write(&file, "").unwrap();
        assert_eq!(directories(&file).len(), 1);
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(directories(&link), [here.path(), there.path()]);
    }
}
