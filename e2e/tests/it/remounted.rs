//! The cluster file system is mounted anew under a gate that runs: seen, said, and mended by a
//! successor.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use anyhow::{Result, ensure};
use telemetry::Clock;
use tls::Authority;

use crate::home::Home;
use crate::program::{self, finish};

/// Runs in a mount namespace. `$1` is a directory with `one` and `two`, each with the files of a
/// node and the authority of its certificate; `$2` the program, `$3` the port.
const SCRIPT: &str = r#"
set -eu
root=$1 proxward=$2 port=$3
trap 'kill $(cat "$root/pid") 2>/dev/null || :' EXIT
fail() { echo "FAILED: $*"; cat "$root/log"; exit 1; }
soon() { n=0; until "$@"; do n=$((n+1)); [ $n -lt 200 ] || fail "never: $*"; sleep 0.05; done; }
shows() { curl -s -m 5 -o /dev/null --cacert "$root/$1/ca" "https://127.0.0.1:$port/proxward/health"; }
says() { curl -s -m 5 --unix-socket "$root/metrics/socket" http://localhost/metrics | grep -q "^$1\$"; }
wanted() { [ -s "$root/state/successor-wanted" ]; }
check() { "$proxward" gate check --config "$root/conf/gate.toml" --state "$root/state" > "$root/check"; }
pid() { "$proxward" gate check --config "$root/conf/gate.toml" --state "$root/state" --format json |
    sed 's/.*"pid":\([0-9]*\).*/\1/' > "$root/pid"; }
mounted() {
    mount -t tmpfs -o mode=755 tmpfs "$root/pve"
    cp "$root/$1"/pve-ssl.* "$root/$1/.version" "$root/pve"
}

mkdir "$root/pve"
mounted one
"$proxward" gate --config "$root/conf/gate.toml" 2> "$root/log" &
echo $! > "$root/pid"
soon grep -q 'gate: ready' "$root/log"
shows one || fail "no gate"
says 'proxward_gate_successor_wanted{} 0' || fail "a successor is wanted from the start"
check || :
grep -q "ok .*certificate .*$root/pve/pve-ssl.pem for 127.0.0.1: until" "$root/check" || fail "$(cat "$root/check")"

# While nothing is mounted there is nothing to be had.
umount -l "$root/pve"
sleep 2
wanted && fail "a successor is wanted for nothing"
mounted two
soon wanted
soon says 'proxward_gate_successor_wanted{} 1'
grep -q 'out of reach, as after a mount' "$root/log" || fail "nothing said"
curl -sk -m 5 "https://127.0.0.1:$port/proxward/health" | grep -q '"successor_wanted":true' || fail health
if check; then fail "a check that finds nothing"; fi
grep -q "fail .*reach .*$root/pve/" "$root/check" || fail "$(cat "$root/check")"
shows one || fail "the gate does not serve"

"$proxward" gate --takeover --background --config "$root/conf/gate.toml" 2>> "$root/log" || fail "no successor"
pid
shows two || fail "another certificate than the new one"
soon says 'proxward_gate_successor_wanted{} 0'
wanted && fail "the wish is left"
echo PASSED
"#;

#[test]
fn a_new_mount_is_seen_and_a_successor_has_it() -> Result<()> {
    if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        program::skip("a mount namespace is made by root");
        return Ok(());
    }
    let home = Home::new()?;
    let root = home.scratch("root");
    let unix = Clock::system().unix();
    for (name, version) in [("one", 1), ("two", 2)] {
        let at = |file: &str| root.join(name).join(file);
        fs::create_dir_all(root.join(name))?;
        let authority = Authority::generate(name, unix)?;
        authority.issue(&["127.0.0.1"], unix)?.write(&at("pve-ssl.pem"), &at("pve-ssl.key"))?;
        // The gate becomes another user, who is in no group here that could read it.
        fs::set_permissions(at("pve-ssl.key"), fs::Permissions::from_mode(0o644))?;
        fs::write(at("ca"), authority.certificate_pem())?;
        fs::write(at(".version"), format!("{{\"starttime\":{version},\"user.cfg\":1}}"))?;
    }
    fs::create_dir(root.join("metrics"))?;
    // The directory of the configuration may be read, with all below it: nothing else lies there.
    fs::create_dir(root.join("conf"))?;
    fs::set_permissions(root.join("metrics"), fs::Permissions::from_mode(0o777))?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let shown = root.display();
    let config = format!(
        "[gate]\nlisten = [\"127.0.0.1:{port}\"]\nupstream = \"http://127.0.0.1:1\"\nworkers = 1\n\
         certificate_directory = \"{shown}/pve\"\nkey_readable_by_others = true\n\
         state = \"{shown}/state\"\nmetrics_listen = \"{shown}/metrics/socket\"\n\
         [gate.sessions]\nversion_file = \"{shown}/pve/.version\"\n"
    );
    home.private("root/conf/gate.toml", &config)?;
    let mut command = home.command("unshare");
    command.args(["-m", "sh", "-c", SCRIPT, "sh"]).arg(&root).arg(program::proxward()?);
    let ended = finish(command.arg(port.to_string()), "")?;
    ensure!(ended.stdout.trim_end().ends_with("PASSED"), "{ended}");
    Ok(())
}
