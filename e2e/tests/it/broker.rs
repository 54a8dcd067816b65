//! The gate and a real broker with a network of its own: bans in the packet filter, and verbs
//! behind privileges.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::front::{Front, is};
use crate::home::Home;
use crate::program::{END, PATIENCE, Running, finish, profile_dir, until};

/// A broker in a new network namespace: its packet filter is empty, the machine's is not touched.
struct Broker {
    running: Running,
    socket: PathBuf,
}

impl Broker {
    fn start(home: &Home) -> Result<Self> {
        let at = home.scratch("broker");
        let shown = at.display();
        let config = format!(
            "[broker]\nsocket = '{shown}/s/broker.sock'\nstate = '{shown}/state'\n\
             commands = {{ hello = {{ argv = ['/bin/echo', 'hello'] }} }}\n\
             [[broker.allow]]\npeer = ['uid:{}']\nmay = ['read', 'ban.apply', 'ban.confirm', 'command.run']\n\
             on = ['local', 'command/*']\n\
             [[broker.allow]]\npeer = ['uid:0']\nmay = ['read', 'write', 'admin']\n\
             [broker.audit]\nfile = '{shown}/log/audit.jsonl'\n\
             key_file = '{shown}/state/audit.key'\nhead_file = '{shown}/state/audit.head'\n",
            gate_user()?,
        );
        let config = home.private("broker.toml", &config)?;
        let mut command = home.command("unshare");
        command.arg("-n").arg(profile_dir()?.join("proxward-brokerd")).arg("--config").arg(config);
        let mut running = Running::start(&mut command)?;
        running.until("the broker's ready line", |broker| {
            broker.stderr().contains("broker: ready").then_some(())
        })?;
        Ok(Self { running, socket: at.join("s/broker.sock") })
    }

    fn end(self) -> Result<()> {
        self.running.signal("TERM")?;
        self.running.wait(END)?.success().map(drop)
    }
}

const SKIPPED: &str = "skipped: needs root, and `cargo build -p proxward-brokerd` first";

/// A broker in new surroundings; none where the test can not be made.
fn started() -> Result<Option<(Home, Broker)>> {
    let program = profile_dir()?.join("proxward-brokerd");
    if !program.is_file() || !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let home = Home::new()?;
    let broker = Broker::start(&home)?;
    Ok(Some((home, broker)))
}

/// Who a gate becomes that is started as root.
fn gate_user() -> Result<u32> {
    let accounts = std::fs::read_to_string("/etc/passwd")?;
    let line = accounts.lines().find(|line| line.split(':').next() == Some(gate::USER));
    let uid = line.and_then(|line| line.split(':').nth(2));
    Ok(uid.map(str::parse).transpose()?.unwrap_or(gate::FALLBACK_ID))
}

/// The addresses in the packet filter; an error where the kernel has none.
fn filtered(home: &Home, socket: &Path) -> Result<Vec<String>> {
    let mut command = home.proxward(&["broker", "call", "ban.list", "--socket"])?;
    let ended = finish(command.arg(socket), "")?.success()?;
    let answer: Value = serde_json::from_str(ended.stdout.trim())?;
    let bans = answer["bans"].as_array().context("no bans")?;
    Ok(bans.iter().filter_map(|ban| ban["address"].as_str()).map(str::to_owned).collect())
}

fn waits_for(home: &Home, broker: &Broker, expected: &[&str]) -> Result<()> {
    let found = until(PATIENCE, || {
        let found = filtered(home, &broker.socket).ok()?;
        (found == expected).then_some(())
    });
    let now = filtered(home, &broker.socket)?;
    found.with_context(|| format!("expected {expected:?}, found {now:?}"))
}

fn fail(front: &Front, home: &Home, client: &str) -> Result<()> {
    let login = front.from(client, "/api2/json/access/ticket");
    let answer = login.field("username", "root@pam").field("password", "wrong").send(home)?;
    is(&answer, "HTTP/1.1 401 authentication failure")
}

#[test]
fn bans_reach_the_packet_filter_and_come_back_after_a_restart_of_the_broker() -> Result<()> {
    let Some((home, broker)) = started()? else {
        println!("{SKIPPED}");
        return Ok(());
    };
    if filtered(&home, &broker.socket).is_err() {
        println!("skipped: the kernel has no nf_tables");
        return broker.end();
    }
    let socket = broker.socket.display();
    let login = format!("delay_seconds = 0\nlock_after = 1\nban_after = 1\nbroker = \"{socket}\"");
    let front = Front::start(&home, &login)?;
    fail(&front, &home, "203.0.113.21")?;
    fail(&front, &home, "2001:db8:9::1")?;
    waits_for(&home, &broker, &["203.0.113.21", "2001:db8:9::/64"])?;

    // Banned while the broker is away, and nothing is left in the filter when it comes back.
    broker.end()?;
    fail(&front, &home, "203.0.113.22")?;
    let refused = front.from("203.0.113.22", "/api2/json/version").send(&home)?;
    is(&refused, "HTTP/1.1 401 Authentication failed!")?;
    let broker = Broker::start(&home)?;
    waits_for(&home, &broker, &["203.0.113.21", "203.0.113.22", "2001:db8:9::/64"])?;

    ensure!(front.bans(&home, &["remove", "203.0.113.21"])?.code == Some(0));
    waits_for(&home, &broker, &["203.0.113.22", "2001:db8:9::/64"])?;
    front.end()?;
    broker.end()
}

#[test]
fn a_command_runs_for_who_holds_the_privilege() -> Result<()> {
    let Some((home, broker)) = started()? else {
        println!("{SKIPPED}");
        return Ok(());
    };
    let socket = broker.socket.display();
    let front =
        Front::start(&home, &format!("[gate.api]\nbroker = \"{socket}\"\nnode = \"pve1\""))?;
    let token = format!("Authorization: PVEAPIToken={}", front.token);
    let client = "203.0.113.31";
    let ask = |path: &str| front.from(client, path).with("header", &token);

    let node = ask("/proxward/api/node").send(&home)?;
    is(&node, "HTTP/1.1 200 OK")?;
    ensure!(node.json()?["data"]["uptime_s"].is_number(), "{node}");
    let run = ask("/proxward/api/commands/hello").with("data", "{}").send(&home)?;
    is(&run, "HTTP/1.1 200 OK")?;
    ensure!(run.json()?["data"]["stdout"] == "hello\n", "{run}");
    let other = ask("/proxward/api/commands/other").with("data", "{}").send(&home)?;
    is(&other, "HTTP/1.1 404 Not Found")?;
    ensure!(other.json()?["error"]["name"] == "not_found", "{other}");
    let nobody = front.from(client, "/proxward/api/commands/hello").with("data", "{}");
    is(&nobody.send(&home)?, "HTTP/1.1 401 Authentication failed!")?;
    front.end()?;
    let audit = std::fs::read_to_string(home.scratch("gate-state").join("audit.jsonl"))?;
    ensure!(audit.contains("\"kind\":\"api.call\"") && audit.contains("root@pam!ci"), "{audit}");
    broker.end()
}
