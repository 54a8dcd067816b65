use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use settings::{ErrorKind, Layers, Presence, SettingsError};

use crate::{Gate, SECTIONS};

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
}

fn load(path: &Path, presence: Presence) -> Result<u16, SettingsError> {
    let document = Layers::new(SECTIONS).file(path, presence).load()?;
    Ok(document.section::<Gate>("gate")?.port)
}

fn refused(path: &Path) -> (ErrorKind, String) {
    let error = load(path, Presence::Optional).unwrap_err();
    (error.kind(), error.to_string().replace(&path.display().to_string(), "FILE"))
}

#[test]
fn the_main_file_then_the_directory_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let (main, conf_d) = (directory.path().join("proxward.toml"), directory.path().join("conf.d"));
    fs::create_dir(&conf_d).unwrap();
    fs::set_permissions(&conf_d, Permissions::from_mode(0o755)).unwrap();
    write(&main, "[gate]\nport = 1\nname = 'main'");
    write(&conf_d.join("20.toml"), "[gate]\nport = 20");
    write(&conf_d.join("10.toml"), "[gate]\nport = 10\nratio = 0.5");
    write(&conf_d.join(".hidden.toml"), "[gate]\nport = 98");
    write(&conf_d.join("30.toml.bak"), "[gate]\nport = 99");
    let layers = Layers::new(SECTIONS).file(&main, Presence::Required).directory(&conf_d);
    let document = layers.load().unwrap();
    let gate: Gate = document.section("gate").unwrap();
    assert_eq!((gate.port, gate.name.as_str(), gate.ratio), (20, "main", 0.5));
    let origin = document.origin("gate.ratio").to_string();
    assert!(origin.ends_with("conf.d/10.toml:3"), "{origin}");

    fs::set_permissions(&conf_d, Permissions::from_mode(0o775)).unwrap();
    let error = Layers::new(SECTIONS).directory(&conf_d).load().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Permissions);
}

#[test]
fn a_missing_file_is_fine_unless_it_was_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.toml");
    assert_eq!(load(&path, Presence::Optional).unwrap(), 0);
    assert!(Layers::new(SECTIONS).directory(&path).load().is_ok());
    let error = load(&path, Presence::Required).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreadable);
    let shown = error.to_string();
    assert!(shown.ends_with("none.toml: no such file; create it or name another"), "{shown}");
}

#[test]
fn what_is_refused_and_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxward.toml");
    for mode in [0o664, 0o646] {
        write(&path, "");
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let expected = "FILE: others may write to it; chmod go-w FILE";
        assert_eq!(refused(&path), (ErrorKind::Permissions, expected.to_owned()));
    }
    write(&path, "#".repeat(settings::FILE_BYTES));
    assert_eq!(load(&path, Presence::Required).unwrap(), 0, "the limit itself is allowed");
    write(&path, "#".repeat(settings::FILE_BYTES + 1));
    assert_eq!(refused(&path).0, ErrorKind::Limit);
    write(&path, b"[gate]\nport = 1\nname = '\xff'");
    let expected = "FILE:3: not UTF-8; save the file as UTF-8";
    assert_eq!(refused(&path), (ErrorKind::Syntax, expected.to_owned()));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(refused(&path).0, ErrorKind::Unreadable);
}

#[test]
fn of_a_link_the_target_counts() {
    let directory = tempfile::tempdir().unwrap();
    let (target, link) = (directory.path().join("target"), directory.path().join("link.toml"));
    write(&target, "[gate]\nport = 7");
    symlink(&target, &link).unwrap();
    assert_eq!(load(&link, Presence::Required).unwrap(), 7);
    fs::set_permissions(&target, Permissions::from_mode(0o666)).unwrap();
    assert_eq!(refused(&link).0, ErrorKind::Permissions);
}

#[test]
fn a_pipe_does_not_hold_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
    assert_eq!(refused(&path).0, ErrorKind::Unreadable);
}
