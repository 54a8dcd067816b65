use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn file(dir: &tempfile::TempDir, mode: u32, content: &[u8]) -> PathBuf {
    let path = dir.path().join("key");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_private_file_is_read_up_to_the_limit() {
    let dir = dir();
    for mode in [0o600, 0o400] {
        let path = file(&dir, mode, b"canary");
        assert_eq!(read(&path, 6).unwrap().expose(), b"canary");
        assert!(matches!(read(&path, 5), Err(FileError::TooLarge { limit: 5, .. })));
        fs::remove_file(path).unwrap();
    }
    let path = file(&dir, 0o600, b"");
    assert!(read(&path, 0).unwrap().expose().is_empty());
}

#[test]
fn any_right_of_group_or_others_is_refused_with_the_command_that_helps() {
    let dir = dir();
    for mode in [0o640, 0o604, 0o620, 0o601, 0o644] {
        let path = file(&dir, mode, b"canary");
        let error = read(&path, 100).unwrap_err();
        assert!(matches!(error, FileError::Mode { mode: found, .. } if found == mode));
        let text = error.to_string();
        assert!(text.contains(&format!("chmod 600 {}", path.display())), "{text}");
        assert!(text.contains(&format!("{mode:04o}")) && !text.contains('\n'), "{text}");
    }
}

#[test]
fn links_are_refused_as_last_component_and_followed_before_it() {
    let dir = dir();
    let path = file(&dir, 0o600, b"canary");
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(read(&link, 100), Err(FileError::Link { .. })));
    assert!(matches!(write(&link, b"new"), Err(FileError::Link { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"canary");

    let dangling = dir.path().join("dangling");
    symlink("nowhere", &dangling).unwrap();
    assert!(matches!(write(&dangling, b"new"), Err(FileError::Link { .. })));

    let parent = dir.path().join("parent");
    symlink(dir.path(), &parent).unwrap();
    assert_eq!(read(&parent.join("key"), 100).unwrap().expose(), b"canary");
}

#[test]
fn what_is_not_a_regular_file_is_refused_without_waiting() {
    let dir = dir();
    assert!(matches!(read(dir.path(), 100), Err(FileError::NotAFile { .. })));
    assert!(matches!(write(dir.path(), b"x"), Err(FileError::NotAFile { .. })));
    let fifo = dir.path().join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert!(matches!(read(&fifo, 100), Err(FileError::NotAFile { .. })));
    assert!(matches!(write(&fifo, b"x"), Err(FileError::NotAFile { .. })));
    assert!(matches!(read(&dir.path().join("none"), 100), Err(FileError::Missing { .. })));
    assert!(matches!(read(Path::new("/dev/null"), 100), Err(FileError::NotAFile { .. })));
}

#[test]
fn a_foreign_owner_is_refused_and_root_is_not() {
    let dir = dir();
    let path = file(&dir, 0o600, b"canary");
    if std::os::unix::fs::chown(&path, Some(54_321), None).is_err() {
        println!("skipped: only root can make a file of somebody else");
        return;
    }
    let error = read(&path, 100).unwrap_err();
    assert!(matches!(error, FileError::Owner { owner: 54_321, .. }), "{error}");
    assert!(error.to_string().contains("chown"), "{error}");
}

#[test]
fn writing_replaces_content_and_mode_and_leaves_nothing_behind() {
    let dir = dir();
    let path = file(&dir, 0o644, b"a longer old content");
    let old = fs::metadata(&path).unwrap().ino();
    write(&path, b"new").unwrap();
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o600);
    assert_ne!(meta.ino(), old, "written in place, not replaced");
    assert_eq!(read(&path, 3).unwrap().expose(), b"new");
    write(&dir.path().join("other"), b"").unwrap();
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["key", "other"]);
}

#[test]
fn the_leftover_of_a_crash_is_stepped_over() {
    let dir = dir();
    let path = dir.path().join("key");
    let next = replace::next_temp_number();
    for number in next..next + 3 {
        let stale = format!(".proxward-{}-{number}.tmp", std::process::id());
        symlink("/nonexistent/canary", dir.path().join(stale)).unwrap();
    }
    write(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_directory_is_created_private_and_accepted_only_so() {
    let dir = dir();
    let path = dir.path().join("state");
    create_dir(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
    create_dir(&path).unwrap();

    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
    let text = create_dir(&path).unwrap_err().to_string();
    assert!(text.contains("chmod 700"), "{text}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();

    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    for name in ["link", "link/", "link/."] {
        let error = create_dir(&dir.path().join(name)).unwrap_err();
        assert!(matches!(error, FileError::Link { .. }), "{name}: {error}");
    }
    assert!(matches!(create_dir(&dir.path().join("a/b")), Err(FileError::Io { .. })));
    let plain = file(&dir, 0o600, b"");
    assert!(matches!(create_dir(&plain), Err(FileError::NotADirectory { .. })));
}

#[test]
fn only_those_named_may_read_and_nobody_may_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    write(&path, b"k").unwrap();
    for (mode, owner, group, anyone) in [
        (0o600, true, true, true),
        (0o400, true, true, true),
        (0o640, false, true, true),
        (0o644, false, false, true),
        (0o660, false, false, false),
        (0o646, false, false, false),
        (0o750, false, false, false),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let may = [Readers::Owner, Readers::Group, Readers::Anyone]
            .map(|readers| read_for(&path, 10, readers).is_ok());
        assert_eq!(may, [owner, group, anyone], "{mode:o}");
    }
}
