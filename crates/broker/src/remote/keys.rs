//! The broker's ssh key: made here, changed with a time in which both keys are valid.
//!
//! Files in the state directory, root's: `id_ed25519` is in use; `id_ed25519.next` is there while
//! a change is under way, and is offered too; `id_ed25519.old` is kept for going back.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use broker_api::{Code, Refusal};
use ed25519_compact::{KeyPair, Seed};
use secrets::{private_file, random};
use serde_json::{Value, json};

const CURRENT: &str = "id_ed25519";
const NEXT: &str = "id_ed25519.next";
const OLD: &str = "id_ed25519.old";

/// What is behind the key in a line.
const COMMENT: &str = "proxward-broker";

/// What a node lets the key do: nothing but the program's own answer.
const OPTIONS: &str = "restrict,command=\"/usr/sbin/proxward-brokerd --forced-command\"";

/// The public half of the key in use.
pub(crate) fn public(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(format!("{CURRENT}.pub"))).ok()?;
    Some(text.trim().to_owned()).filter(|line| line.starts_with("ssh-ed25519 "))
}

/// The private keys to offer: the one in use, and the next one during a change.
pub(crate) fn identities(folder: &Path) -> Vec<PathBuf> {
    [CURRENT, NEXT].iter().map(|name| folder.join(name)).filter(|path| path.exists()).collect()
}

/// Makes the key when there is none.
pub(crate) fn ensure(folder: &Path, plan: bool) -> Result<Value, Refusal> {
    let there = folder.join(CURRENT).exists();
    if !there && !plan {
        make(folder, CURRENT)?;
    }
    Ok(json!({"made": !there, "authorized_keys": lines(folder)}))
}

/// One step of a change.
pub(crate) fn rotate(folder: &Path, step: &str, plan: bool) -> Result<Value, Refusal> {
    let there = |name: &str| folder.join(name).exists();
    let conflict = |text: &str| Err(Refusal::new(Code::Conflict, text));
    let moves: &[(&str, &str)] = match step {
        "begin" if !there(CURRENT) => {
            return conflict("there is no key yet: keys.ensure makes one");
        }
        "begin" if there(NEXT) => return conflict("a change is under way: finish it or roll back"),
        "begin" => {
            if !plan {
                make(folder, NEXT)?;
            }
            &[]
        }
        "finish" if !there(NEXT) => return conflict("no change is under way"),
        "finish" => &[(CURRENT, OLD), (NEXT, CURRENT)],
        _ if there(NEXT) => &[(NEXT, "")],
        _ if there(OLD) => &[(CURRENT, NEXT), (OLD, CURRENT)],
        _ => return conflict("there is nothing to go back to"),
    };
    if !plan {
        for (from, to) in moves {
            shift(folder, from, to)?;
        }
    }
    Ok(json!({"step": step, "planned": plan, "authorized_keys": lines(folder)}))
}

/// The keys that are this broker's, as they stand in a line: in use, next, and before.
pub(crate) fn own(folder: &Path) -> Vec<String> {
    let read = |name: &&str| std::fs::read_to_string(folder.join(format!("{name}.pub"))).ok();
    let keys = [CURRENT, NEXT, OLD];
    keys.iter().filter_map(read).filter_map(|key| Some(key.split(' ').nth(1)?.to_owned())).collect()
}

/// An `authorized_keys` with the lines this broker wants and none of its others. What is not of
/// its keys stays as it is.
pub(crate) fn authorized(text: &str, own: &[String], folder: &Path) -> String {
    let is_own = |line: &&str| own.iter().any(|key| line.split(' ').any(|word| word == key));
    let mut next: String = text.split_inclusive('\n').filter(|line| !is_own(line)).collect();
    if !next.is_empty() && !next.ends_with('\n') {
        next.push('\n');
    }
    for line in lines(folder) {
        next.push_str(&line);
        next.push('\n');
    }
    next
}

/// Renames both files of a key, or removes them.
fn shift(folder: &Path, from: &str, to: &str) -> Result<(), Refusal> {
    for end in ["", ".pub"] {
        let from = folder.join(format!("{from}{end}"));
        let done = match to {
            "" => std::fs::remove_file(&from),
            to => std::fs::rename(&from, folder.join(format!("{to}{end}"))),
        };
        done.map_err(failed)?;
    }
    Ok(())
}

/// The lines that nodes need, for every key that may be offered.
fn lines(folder: &Path) -> Vec<String> {
    let read = |name: &&str| std::fs::read_to_string(folder.join(format!("{name}.pub"))).ok();
    let keys = [CURRENT, NEXT];
    keys.iter().filter_map(read).map(|key| format!("{OPTIONS} {}", key.trim())).collect()
}

fn make(folder: &Path, name: &str) -> Result<(), Refusal> {
    let pair = KeyPair::from_seed(Seed::new(seed().map_err(failed)?));
    let check = seed().map_err(failed)?;
    let check = check.first_chunk::<4>().copied().unwrap_or_default();
    let private = private_text(&pair, check);
    let public = format!("ssh-ed25519 {} {COMMENT}\n", base64(&public_blob(&pair)));
    private_file::write(&folder.join(name), private.as_bytes()).map_err(failed)?;
    private_file::write(&folder.join(format!("{name}.pub")), public.as_bytes()).map_err(failed)
}

/// 32 random bytes.
fn seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    for half in seed.chunks_mut(16) {
        let text = random::hex()?;
        for (byte, pair) in half.iter_mut().zip(text.expose().as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).map_err(std::io::Error::other)?;
        }
    }
    Ok(seed)
}

fn public_blob(pair: &KeyPair) -> Vec<u8> {
    let mut blob = Vec::new();
    push(&mut blob, b"ssh-ed25519");
    push(&mut blob, &pair.pk[..]);
    blob
}

/// OpenSSH's own format (its `PROTOCOL.key`), not encrypted.
fn private_text(pair: &KeyPair, check: [u8; 4]) -> String {
    let mut secret = Vec::with_capacity(256);
    secret.extend(check);
    secret.extend(check);
    push(&mut secret, b"ssh-ed25519");
    push(&mut secret, &pair.pk[..]);
    push(&mut secret, &pair.sk[..]);
    push(&mut secret, COMMENT.as_bytes());
    for padding in 1_u8..8 {
        if secret.len() % 8 == 0 {
            break;
        }
        secret.push(padding);
    }
    let mut whole = b"openssh-key-v1\0".to_vec();
    push(&mut whole, b"none");
    push(&mut whole, b"none");
    push(&mut whole, b"");
    whole.extend(1_u32.to_be_bytes());
    push(&mut whole, &public_blob(pair));
    push(&mut whole, &secret);
    let mut text = "-----BEGIN OPENSSH PRIVATE KEY-----\n".to_owned();
    for line in base64(&whole).as_bytes().chunks(70) {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
    }
    text.push_str("-----END OPENSSH PRIVATE KEY-----\n");
    text
}

fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
    out.extend(bytes);
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let byte = |n: usize| u32::from(part.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4_usize {
            let digit = (bits >> (18 - 6 * n)) & 63;
            let digit = usize::try_from(digit).ok().and_then(|digit| DIGITS.get(digit));
            text.push(if n <= part.len() { digit.map_or('=', |d| char::from(*d)) } else { '=' });
        }
    }
    text
}

fn failed(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::Unavailable, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn base64_as_the_rfc_has_it() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn ssh_keygen_reads_the_key_and_agrees_about_its_public_half() {
        let dir = tempfile::tempdir().unwrap();
        let plan = ensure(dir.path(), true).unwrap();
        assert_eq!((&plan["made"], identities(dir.path()).len()), (&json!(true), 0));
        let made = ensure(dir.path(), false).unwrap();
        let line = made["authorized_keys"][0].as_str().unwrap().to_owned();
        assert!(line.starts_with("restrict,command="), "{line}");
        assert_eq!(
            ensure(dir.path(), false).unwrap(),
            json!({"made": false, "authorized_keys": [line]})
        );
        let Ok(out) =
            Command::new("ssh-keygen").arg("-y").arg("-f").arg(dir.path().join(CURRENT)).output()
        else {
            eprintln!("skipped: ssh-keygen is not installed");
            return;
        };
        let public = String::from_utf8(out.stdout).unwrap();
        assert!(!public.is_empty() && line.contains(public.trim()), "{public}\n{line}");
    }

    #[test]
    fn other_lines_of_authorized_keys_stay_and_no_key_is_there_twice() {
        let dir = tempfile::tempdir().unwrap();
        ensure(dir.path(), false).unwrap();
        let theirs = "# root's\nssh-ed25519 AAAA root@pve1\n\nssh-rsa BBBB x";
        let once = authorized(theirs, &own(dir.path()), dir.path());
        assert!(once.starts_with(&format!("{theirs}\nrestrict,command=")), "{once}");
        assert_eq!(authorized(&once, &own(dir.path()), dir.path()), once);
        rotate(dir.path(), "begin", false).unwrap();
        let both = authorized(&once, &own(dir.path()), dir.path());
        assert_eq!(both.matches("restrict,").count(), 2);
        rotate(dir.path(), "finish", false).unwrap();
        let after = authorized(&both, &own(dir.path()), dir.path());
        assert_eq!(after.matches("restrict,").count(), 1);
        assert!(after.starts_with(theirs) && !after.contains(&lines_of(&once)));
    }

    fn lines_of(text: &str) -> String {
        text.lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_change_has_a_time_with_both_keys_and_a_way_back() {
        let dir = tempfile::tempdir().unwrap();
        let step = |step: &str| rotate(dir.path(), step, false).map_err(|refusal| refusal.code);
        let keys = || lines(dir.path());
        assert_eq!(step("begin"), Err(Code::Conflict));
        ensure(dir.path(), false).unwrap();
        let first = keys();
        assert_eq!((step("finish"), step("rollback")), (Err(Code::Conflict), Err(Code::Conflict)));
        assert!(rotate(dir.path(), "begin", true).is_ok() && keys() == first);
        step("begin").unwrap();
        let both = keys();
        assert_eq!((both.len(), &both[0], identities(dir.path()).len()), (2, &first[0], 2));
        assert_eq!(step("begin"), Err(Code::Conflict));
        step("rollback").unwrap();
        assert_eq!(keys(), first);
        step("begin").unwrap();
        let both = keys();
        step("finish").unwrap();
        assert_eq!(keys(), both[1..]);
        step("rollback").unwrap();
        assert_eq!(
            keys(),
            [first[0].clone(), both[1].clone()],
            "the old one again, the new one still offered"
        );
    }
}
