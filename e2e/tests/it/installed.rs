//! `gate install` and `remove` on a tree that stands for a node, with the mock as its pveproxy, in
//! a network namespace of its own: on the port there is, on addresses that come and go.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use anyhow::{Result, ensure};
use telemetry::Clock;
use tls::Authority;

use crate::home::Home;
use crate::program::{self, finish};

/// Debian's number of the group that reads the keys of a node.
const WWW_DATA: u32 = 33;

/// systemctl and systemd-sysusers of the tree. It starts the gate as the unit would, with the
/// paths of its configuration below the tree, and kills who called it where it is told to.
const SYSTEM: &str = r#"#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
echo "$(basename "$0") $*" >> "$root/calls"
if [ "$(cat "$root/kill-at" 2>/dev/null)" = "$(wc -l < "$root/calls" | tr -d ' ')" ]; then
    kill -9 $PPID
    exit 0
fi
case "$*" in
"enable --now proxward-gate.service proxward-gate-successor.path")
    [ -f "$root/broken" ] && exit 0
    if ! kill -0 "$(cat "$root/pid" 2>/dev/null)" 2>/dev/null; then
        sed "s#\"/#\"$root/#g" "$root/etc/proxward/proxward.toml" > "$root/run.toml"
        rm -f "$root/pid"
        # Out of the group that ends with this script, and only then on.
        setsid sh -c 'echo $$ > "$1/pid"; exec "$(cat "$1/program")" gate --config "$1/run.toml"' \
            sh "$root" > "$root/gate.log" 2>&1 < /dev/null &
        while [ ! -s "$root/pid" ]; do sleep 0.01; done
    fi ;;
"disable --now proxward-gate-successor.path proxward-gate.service")
    if pid=$(cat "$root/pid" 2>/dev/null); then
        kill "$pid" 2>/dev/null
        while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
        rm -f "$root/pid"
    fi ;;
esac
exit 0
"#;

/// Runs in the namespace. `$1` is the tree, `$2` the program.
const SCRIPT: &str = r#"
set -eu
root=$1 proxward=$2
ip link set lo up
ip addr add 192.0.2.10/32 dev lo
pveproxy() {
    cp "$root/etc/pve/local/$1.key" "$root/mock.key"
    chmod 0600 "$root/mock.key"
    "$proxward" mock --listen 127.0.0.1:8006 --cert "$root/etc/pve/local/$1.pem" \
        --key "$root/mock.key" --time-scale 0 --format json > "$root/mock.out" 2>&1 &
    mock=$!
}
pveproxy pve-ssl
trap 'kill $mock 2>/dev/null; kill $(cat "$root/pid" 2>/dev/null) 2>/dev/null || :' EXIT
fail() { echo "FAILED: $*"; cat "$root/calls" "$root/gate.log" "$root/run.toml" 2>/dev/null; exit 1; }
soon() { n=0; until "$@"; do n=$((n+1)); [ $n -lt 200 ] || fail "never: $*"; sleep 0.05; done; }
soon grep -q ready "$root/mock.out"
answers() { [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' --cacert "$root/ca" \
    "https://192.0.2.10:8006/api2/json/access/domains")" = 200 ]; }
head_of() { curl -sk -m 5 -o /dev/null -D - "https://$1:8006/api2/json/version" 2>/dev/null; }
gate_at() { head_of "$1" | grep -qi '^strict-transport-security'; }
none_at() { ! head_of "$1" | grep -q .; }
as_before() {
    cmp -s "$root/before" "$root/etc/default/pveproxy" || fail "$1: other defaults"
    [ ! -e "$root/var/lib/proxward/install.json" ] || fail "$1: a journal is left"
    [ ! -e "$root/etc/systemd/system/proxward-gate.service" ] || fail "$1: a unit is left"
    [ ! -e "$root/etc/proxward/pveproxy.saved" ] || fail "$1: the saved copy is left"
    none_at 192.0.2.10 || fail "$1: something listens"
}
install() { : > "$root/calls"; "$proxward" gate install --root "$root"; }
remove() { : > "$root/calls"; "$proxward" gate remove --root "$root"; }

"$proxward" gate install --root "$root" --dry-run > /dev/null
as_before "dry run"
install || fail "install"
gate_at 192.0.2.10 || fail "no gate"
if gate_at 127.0.0.1; then fail "the gate took loopback"; fi
head_of 127.0.0.1 | grep -q '^HTTP' || fail "pveproxy is gone"
[ "$(grep -c '^LISTEN_IP="127.0.0.1"$' "$root/etc/default/pveproxy")" = 1 ] || fail "LISTEN_IP"
grep -q '^ALLOW_FROM="192.0.2.0/24"$' "$root/etc/default/pveproxy" || fail "other lines"
cmp -s "$root/before" "$root/etc/proxward/pveproxy.saved" || fail "the saved copy"
answers || fail "no pveproxy behind the gate"
# A certificate of its own, and pveproxy restarted with it: nobody has to tell the gate.
kill $mock && wait $mock || :
mv "$root/custom/"* "$root/etc/pve/local"
pveproxy pveproxy-ssl
soon answers
"$proxward" gate check --config "$root/run.toml" --state "$root/var/lib/proxward/gate" > "$root/check" || :
grep -q 'certificate .*pveproxy-ssl.pem for' "$root/check" || fail "$(cat "$root/check")"
install | grep -q 'nothing had to change' || fail "a second install"
grep -q restart "$root/calls" && fail "a second install restarts pveproxy"
ip addr add 192.0.2.11/32 dev lo
soon gate_at 192.0.2.11
ip addr del 192.0.2.11/32 dev lo
gate_at 192.0.2.10 || fail "the address that stayed"
remove || fail "remove"
as_before remove
[ ! -e "$root/etc/proxward/proxward.toml" ] || fail "remove: the configuration is left"
remove | grep -q 'nothing had to change' || fail "a second remove"

# Killed at each command that is run, then undone; and then finished.
for at in 1 2 3 4; do
    echo $at > "$root/kill-at"
    if install 2>/dev/null; then fail "not killed at $at"; fi
    rm "$root/kill-at"
    remove > /dev/null || fail "remove after $at"
    as_before "killed at $at, removed"
    echo $at > "$root/kill-at"
    if install 2>/dev/null; then fail "not killed at $at"; fi
    rm "$root/kill-at"
    install > /dev/null || fail "install after $at"
    gate_at 192.0.2.10 || fail "killed at $at, installed: no gate"
    [ $at -le 3 ] && echo $at > "$root/kill-at"
    if [ $at -le 3 ] && remove 2>/dev/null; then fail "remove not killed at $at"; fi
    rm -f "$root/kill-at"
    remove > /dev/null || fail "remove after remove at $at"
    as_before "remove killed at $at"
done

# A gate that does not come up is taken away at once.
touch "$root/broken"
if install 2> "$root/why"; then fail "a gate that is not there"; fi
grep -q 'does not answer' "$root/why" || fail "no reason: $(cat "$root/why")"
rm "$root/broken"
as_before "a gate that does not answer"
echo PASSED
"#;

#[test]
fn in_front_and_out_again_and_killed_at_each_step() -> Result<()> {
    if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        program::skip("a network namespace is made by root");
        return Ok(());
    }
    let home = Home::new()?;
    let root = home.scratch("root");
    for directory in ["usr/bin", "etc/default", "etc/pve/local", "custom"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let before = "# mine\nALLOW_FROM=\"192.0.2.0/24\"\nPOLICY=deny\nLISTEN_IP=\"0.0.0.0\"\n#end";
    fs::write(root.join("before"), before)?;
    fs::write(root.join("etc/default/pveproxy"), before)?;
    let unix = Clock::system().unix();
    let names = ["127.0.0.1", "192.0.2.10", "192.0.2.11"];
    let authority = Authority::generate("e2e", unix)?;
    fs::write(root.join("ca"), authority.certificate_pem())?;
    for (directory, name) in [("etc/pve/local", "pve-ssl"), ("custom", "pveproxy-ssl")] {
        let at = |ending: &str| root.join(directory).join(format!("{name}.{ending}"));
        authority.issue(&names, unix)?.write(&at("pem"), &at("key"))?;
        // As on a node: root's, and www-data may read it.
        chown(at("key"), None, Some(WWW_DATA))?;
        fs::set_permissions(at("key"), fs::Permissions::from_mode(0o640))?;
    }
    let program = program::proxward()?;
    fs::write(root.join("program"), program.display().to_string())?;
    for name in ["systemctl", "systemd-sysusers"] {
        executable(&root.join("usr/bin").join(name), SYSTEM)?;
    }
    let script = home.scratch("script");
    executable(&script, SCRIPT)?;
    let mut command = home.command("unshare");
    command.args(["-n", "sh"]).arg(&script).arg(&root).arg(program);
    let ended = finish(&mut command, "")?;
    ensure!(ended.stdout.trim_end().ends_with("PASSED"), "{ended}");
    Ok(())
}

fn executable(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}
