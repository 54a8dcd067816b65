use std::net::TcpListener;

use proptest::prelude::*;

use super::*;
use crate::{Config, Mock, StartError};

fn parse(text: &str) -> Result<SeedFile, FileError> {
    SeedFile::parse("s", text, Form::Toml, &mut |_| Err("no secrets here".to_owned()))
}

/// What the file is refused with, when it is read or when it is applied.
fn refused(text: &str) -> String {
    let file = match parse(text) {
        Ok(file) => file,
        Err(error) => return error.to_string(),
    };
    let config = Config { steps: file.steps, time_scale: 0.0, ..Config::new(file.seed) };
    match Mock::start(config, TcpListener::bind("127.0.0.1:0").unwrap()) {
        Err(StartError::File(error)) => error.to_string(),
        other => panic!("{text}\nwas taken: {:?}", other.err()),
    }
}

#[test]
fn mistakes_are_named_with_their_line() {
    let vm = "[[qemu]]\nvmid = 100\nnode = 'pve1'\n";
    let lvm = "[[storages]]\nstorage = 'lvm'\ntype = 'lvmthin'\n";
    for (text, wanted) in [
        ("[[node]]\nname = 'a'".to_owned(), "s:1: node: unknown key; did you mean nodes?"),
        ("[[nodes]]\nname = 'a b'".to_owned(), "s:2: nodes[0].name: "),
        ("[[nodes]]\nname = 'a'\n[[nodes]]\nname = 'a'".to_owned(), "s:4: nodes[1].name: a second"),
        ("[[nodes]]\nname = 'a'\nmemory = '4X'".to_owned(), "s:3: nodes[0].memory: no size"),
        (format!("{vm}memroy = 512"), "s:4: qemu[0].memroy: property is not defined"),
        (format!("{vm}cores = 0"), "s:4: qemu[0].cores: value must have a minimum"),
        (format!("{vm}net0 = 'virtoi,bridge=vmbr0'"), "s:4: qemu[0].net0: invalid format"),
        (format!("{vm}scsi0 = 'nope:32'"), "s:1: qemu[0]: storage 'nope' does not exist"),
        (format!("{vm}start = true"), "s:4: qemu[0].start: a seed is no call"),
        (format!("{vm}status = 'up'"), "s:4: qemu[0].status: another word; use one of"),
        (format!("{vm}lock = 'x'"), "s:4: qemu[0].lock: no lock: x"),
        (format!("{vm}pool = 'p'"), "s:1: qemu[0]: "),
        (format!("{vm}{vm}"), "s:4: qemu[1]: unable to create VM 100 - VM 100 already exists"),
        (format!("{vm}template = true\nstatus = 'running'"), "s:5: qemu[0].status: a template"),
        ("[[qemu]]\nvmid = 100\nnode = 'x'".to_owned(), "s:3: qemu[0].node: no node x"),
        ("[[qemu]]\nnode = 'pve1'".to_owned(), "s:1: qemu[0].vmid: expected a number"),
        ("[[qemu]]\nvmid = 99\nnode = 'pve1'".to_owned(), "s:2: qemu[0].vmid: "),
        (
            format!("{lvm}{vm}scsi0 = 'lvm:vm-100-disk-0'"),
            "s:7: qemu[0].scsi0: a volume without size=",
        ),
        (
            format!("{lvm}{vm}scsi0 = 'lvm:vm-7-disk-0,size=1G'"),
            "s:4: qemu[0]: volume lvm:vm-7-disk-0 does not exist",
        ),
        (
            format!("{lvm}{vm}[[qemu.snapshots]]\nsnapname = '1'"),
            "s:7: qemu[0].snapshots: [0]: snapname: ",
        ),
        (
            "[[users]]\nuserid = 'a@nope'\npassword = 'correct horse'".to_owned(),
            "s:1: users[0]: create user failed",
        ),
        ("[[users]]\nuserid = 'a@pve'\npassword = 'x'".to_owned(), "s:3: users[0].password: "),
        (
            "[[users]]\nuserid = 'a@pve'\npassword_file = 'x'".to_owned(),
            "s:3: users[0].password_file: no secrets here",
        ),
        (
            "[[acl]]\npath = '/'\nroles = 'X'\nusers = 'root@pam'".to_owned(),
            "s:1: acl[0]: ACL update",
        ),
        ("[[roles]]\nroleid = 'R'\nprivs = 'X'".to_owned(), "s:3: roles[0].privs: invalid format"),
        (
            "[[volumes]]\nstorage = 'local'\nvolume = 'iso/a.exe'\nsize = '1G'".to_owned(),
            "s:3: volumes[0].volume: 'iso/a.exe' is no name",
        ),
        (
            "[[tasks]]\ntype = 'qmstrat'".to_owned(),
            "s:2: tasks[0].type: no type of tasks; did you mean qmstart?",
        ),
        ("[[tasks]]\ntype = 'qmstart'\nuser = 'x@pve'".to_owned(), "s:3: tasks[0].user: no such"),
        (
            "[[calls]]\nmethod = 'GET'\npath = '/version'".to_owned(),
            "s:2: calls[0].method: no verb",
        ),
        ("[[calls]]\nmethod = 'POST'\npath = '/versoin'".to_owned(), "s:1: calls[0]: no path"),
        (
            "[[calls]]\nmethod = 'POST'\npath = '/access/ticket'".to_owned(),
            "s:1: calls[0]: tickets are for clients",
        ),
    ] {
        let error = refused(&text);
        assert!(error.starts_with(wanted), "{text}\n{error}\n{wanted}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn no_error_repeats_a_password() {
    let error = refused("[[users]]\nuserid = 'a@pve'\npassword = 'canary'\nkeys = [[1]]");
    assert!(!error.contains("canary"), "{error}");
}

proptest! {
    #[test]
    fn any_file_is_answered(key in "(nodes|storages|users|qemu|lxc|tasks|volumes|calls|acl)", rest in "[a-z0-9 ='\"{}\\[\\]/:.\n]{0,120}") {
        let _ = parse(&format!("[[{key}]]\n{rest}"));
    }
}
