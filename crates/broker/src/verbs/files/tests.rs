use super::*;
use std::os::unix::fs::{MetadataExt as _, symlink};

struct Place {
    files: Files,
    hands: telemetry::ManualClock,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (root, state) = (dir.path().join("root"), dir.path().join("state"));
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(&state).unwrap();
        std::fs::write(dir.path().join("outside"), "secret").unwrap();
        let mut settings = Settings { state: state.clone(), ..Settings::default() };
        settings.roots.insert("plan".into(), RootSettings { path: root.clone(), write: true });
        settings.roots.insert("look".into(), RootSettings { path: root, write: false });
        let mut files = Files::new(&settings).unwrap();
        let (clock, hands) = Clock::manual(Duration::from_secs(1_000_000));
        files.clock = clock;
        Self { files, hands, dir }
    }

    fn ask(&self, verb: &str, params: Value) -> Result<Value, Code> {
        let Value::Object(mut params) = params else { panic!("an object") };
        params.entry("root").or_insert(json!("plan"));
        self.files.handle(verb, &params).map_err(|refusal| refusal.code)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("root").join(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.file(name)).ok()
    }
}

#[test]
fn a_write_keeps_owner_and_mode_and_can_be_put_back() {
    let place = Place::new();
    std::fs::write(place.file("a"), "one").unwrap();
    std::fs::set_permissions(place.file("a"), std::os::unix::fs::PermissionsExt::from_mode(0o640))
        .unwrap();
    let plan =
        place.ask("file.write", json!({"path": "a", "content": "two", "plan": true})).unwrap();
    assert_eq!((&plan["changed"], place.text("a").as_deref()), (&json!(true), Some("one")));
    let read = place.ask("file.read", json!({"path": "a"})).unwrap();
    let stale = json!({"path": "a", "content": "two", "expect_sha256": "absent"});
    assert_eq!(place.ask("file.write", stale), Err(Code::Conflict));
    let write = json!({"path": "a", "content": "two", "expect_sha256": read["sha256"]});
    let done = place.ask("file.write", write).unwrap();
    assert_eq!(place.text("a").as_deref(), Some("two"));
    assert_eq!(std::fs::metadata(place.file("a")).unwrap().mode() & 0o777, 0o640);
    let same = place.ask("file.write", json!({"path": "a", "content": "two"})).unwrap();
    assert_eq!((&same["changed"], same.get("snapshot")), (&json!(false), None));
    let other = json!({"path": "b", "snapshot": done["snapshot"]});
    assert_eq!(place.ask("file.restore", other), Err(Code::Conflict));
    let restore = json!({"path": "a", "snapshot": done["snapshot"], "lease_ms": 1000});
    let restored = place.ask("file.restore", restore).unwrap();
    assert_eq!(place.text("a").as_deref(), Some("one"));
    place.hands.advance(Duration::from_secs(1));
    place.files.tick();
    assert_eq!(place.text("a").as_deref(), Some("two"), "a restore is on trial too");
    let undo = json!({"path": "a", "snapshot": done["snapshot"]});
    place.ask("file.restore", undo).unwrap();
    let undo = json!({"path": "a", "snapshot": restored["snapshot"]});
    place.ask("file.restore", undo).unwrap();
    assert_eq!(place.text("a").as_deref(), Some("two"), "what a restore replaced is kept");
    assert_eq!(std::fs::read_dir(place.file("")).unwrap().count(), 1, "nothing left beside it");
}

#[test]
fn no_path_leads_out() {
    let place = Place::new();
    std::fs::create_dir(place.file("d")).unwrap();
    symlink(place.dir.path().join("outside"), place.file("link")).unwrap();
    symlink(place.dir.path(), place.file("up")).unwrap();
    symlink("d", place.file("inner")).unwrap();
    for path in [
        "../outside",
        "d/../../outside",
        "/etc/passwd",
        "link",
        "up/outside",
        "inner/x",
        "/proc/self/root/etc/passwd",
    ] {
        for (verb, more) in [
            ("file.read", json!({"path": path})),
            ("file.write", json!({"path": path, "content": "x"})),
        ] {
            assert_eq!(place.ask(verb, more), Err(Code::Forbidden), "{verb} {path}");
        }
    }
    for path in ["d", "d/", "."] {
        assert!(place.ask("file.read", json!({"path": path})).is_err(), "{path}");
        assert!(place.ask("file.write", json!({"path": path, "content": "x"})).is_err(), "{path}");
    }
    assert_eq!(place.ask("file.read", json!({"path": "none"})), Err(Code::NotFound));
    assert_eq!(place.ask("file.read", json!({"path": "a", "root": "other"})), Err(Code::NotFound));
    let look = json!({"path": "a", "root": "look", "content": "x"});
    assert_eq!(place.ask("file.write", look), Err(Code::Forbidden));
    assert_eq!(std::fs::read_to_string(place.dir.path().join("outside")).unwrap(), "secret");
}

#[test]
fn what_is_not_confirmed_comes_back() {
    let place = Place::new();
    std::fs::write(place.file("a"), "one").unwrap();
    let lease = |path: &str| json!({"path": path, "content": "two", "lease_ms": 5000});
    let kept = place.ask("file.write", lease("a")).unwrap();
    place.ask("file.write", lease("new")).unwrap();
    assert_eq!(place.files.wakes(), Some(Duration::from_secs(5)));
    // Of two trials of one file the older would bring back what the newer had replaced.
    for other in
        [lease("new").to_string().replace("two", "three"), r#"{"path":"new","content":"x"}"#.into()]
    {
        let other = serde_json::from_str(&other).unwrap();
        assert_eq!(place.ask("file.write", other), Err(Code::Conflict));
    }
    let alias = json!({"path": "./new", "content": "x"});
    assert_eq!(place.ask("file.write", alias), Err(Code::InvalidParameter));
    place.ask("file.confirm", json!({"snapshot": kept["snapshot"]})).unwrap();
    place.hands.advance(Duration::from_millis(4999));
    place.files.tick();
    assert_eq!(place.text("new").as_deref(), Some("two"));
    assert!(pending(&place.dir.path().join("state/snapshots")));
    place.hands.advance(Duration::from_millis(1));
    place.files.tick();
    assert_eq!((place.text("new"), place.text("a").as_deref()), (None, Some("two")));
    assert_eq!(place.files.wakes(), None);
}

#[test]
fn snapshots_are_bounded() {
    let place = Place::new();
    for n in 0..crate::limits::SNAPSHOTS + 5 {
        place.ask("file.write", json!({"path": "a", "content": n.to_string()})).unwrap();
    }
    let kept = std::fs::read_dir(place.dir.path().join("state/snapshots")).unwrap().count();
    assert_eq!(kept, crate::limits::SNAPSHOTS);
}

#[test]
fn what_is_no_text_or_too_much_is_refused() {
    let place = Place::new();
    std::fs::write(place.file("binary"), b"\xff\xfe").unwrap();
    std::fs::write(place.file("large"), "x".repeat(FILE_CONTENT + 1)).unwrap();
    assert_eq!(place.ask("file.read", json!({"path": "binary"})), Err(Code::Unavailable));
    assert_eq!(place.ask("file.read", json!({"path": "large"})), Err(Code::OutputTooLarge));
    rustix::fs::mknodat(CWD, place.file("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(place.ask("file.read", json!({"path": "fifo"})), Err(Code::InvalidParameter));
}

#[test]
fn a_planned_clean_up_says_what_it_would_leave_and_leaves_nothing() {
    let place = Place::new();
    let request = place.dir.path().join("state/snapshots/cleanup-request.json");
    let plan = place.ask("cleanup.request", json!({"host": "pve2", "plan": true})).unwrap();
    assert_eq!((&plan["queued"], &plan["request"]["host"]), (&json!(false), &json!("pve2")));
    assert!(!request.exists());
    assert_eq!(place.ask("cleanup.request", json!({})).unwrap(), json!({"queued": true}));
    assert!(request.exists());
    let plan = place.ask("cleanup.request", json!({"plan": true})).unwrap();
    assert_eq!(plan["replaces_one"], true);
}

#[test]
fn what_is_no_regular_file_is_not_even_opened() {
    let place = Place::new();
    let fifo = place.file("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    // Whoever opens a FIFO to write finds a reader there, if one has opened it.
    let writer = OFlags::WRONLY | OFlags::NONBLOCK;
    let watched = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::NONBLOCK).unwrap();
    let opened = rustix::fs::inotify::WatchFlags::OPEN;
    rustix::fs::inotify::add_watch(&watched, &fifo, opened).unwrap();
    assert_eq!(place.ask("file.read", json!({"path": "fifo"})), Err(Code::InvalidParameter));
    assert_eq!(rustix::io::read(&watched, &mut [0; 64]), Err(Errno::AGAIN), "not opened");
    assert_eq!(rustix::fs::open(&fifo, writer, Mode::empty()).unwrap_err(), Errno::NXIO);
    std::fs::write(place.file("s"), "one").unwrap();
    let set = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
    std::fs::set_permissions(place.file("s"), set).unwrap();
    place.ask("file.write", json!({"path": "s", "content": "two"})).unwrap();
    assert_eq!(std::fs::metadata(place.file("s")).unwrap().mode() & 0o7777, 0o755);
}
