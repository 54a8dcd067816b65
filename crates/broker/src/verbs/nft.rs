//! Bans: addresses in two sets of a table of our own, by netlink, without any program.
//!
//! The table `inet proxward_broker` has a set for each family and one chain that drops what comes
//! from them, before other input chains. It is made with the first change, and `nft list table`
//! shows it. Layout of messages: Linux' `include/uapi/linux/netfilter/nf_tables.h`.

mod message;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_api::{Code, Refusal};
use rustix::fd::OwnedFd;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use serde_json::{Map, Value, json};
use telemetry::Clock;

use crate::limits::{BAN_LEASES, BANS};
use message::Reply;

/// How many elements a packet lists, for the fuzz target.
#[cfg(fuzzing)]
pub(crate) fn netlink(packet: &[u8]) -> usize {
    let count = |reply: Reply<'_>| match reply {
        Reply::Body(body) => message::elements(body).len(),
        _ => 0,
    };
    message::replies(packet).into_iter().map(count).sum()
}

/// How long the kernel may take.
const WAIT: Duration = Duration::from_secs(5);

/// Largest packet of the kernel.
const PACKET: usize = 256 * 1024;

/// Most packets of one answer.
const PACKETS: usize = 4096;

/// The kernel's packet filter, as far as it is ours.
pub(crate) struct Nft {
    socket: Mutex<OwnedFd>,
    leases: Mutex<BTreeMap<String, Lease>>,
    clock: Clock,
}

/// Bans on trial. The kernel itself ends them: they have its timeout until they are confirmed.
struct Lease {
    until: Duration,
    addresses: Vec<Banned>,
    millis: Option<u64>,
}

/// Who is shut out: an address, or the /64 of IPv6 that begins with it. Whoever has one IPv6
/// address has its /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Banned {
    address: IpAddr,
    whole: bool,
}

/// Milliseconds left, or for ever.
type Bans = BTreeMap<Banned, Option<u64>>;

impl Banned {
    fn parse(text: &str) -> Option<Self> {
        let Some(start) = text.strip_suffix("/64") else {
            return Some(Self { address: netpolicy::canonical(text.parse().ok()?), whole: false });
        };
        let start: Ipv6Addr = start.parse().ok()?;
        let sound = start.segments().iter().skip(4).all(|part| *part == 0);
        sound.then_some(Self { address: IpAddr::V6(start), whole: true })
    }
}

impl fmt::Display for Banned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.address, if self.whole { "/64" } else { "" })
    }
}

impl serde::Serialize for Banned {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Nft {
    /// Opens the way to the kernel.
    pub(crate) fn open() -> Result<Self, String> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(NETFILTER),
        );
        let socket = socket.map_err(|error| format!("netlink: {error}"))?;
        let bound = rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0));
        bound.map_err(|error| format!("netlink: {error}"))?;
        let timed = set_socket_timeout(&socket, Timeout::Recv, Some(WAIT));
        timed.map_err(|error| format!("netlink: {error}"))?;
        let (socket, leases) = (Mutex::new(socket), Mutex::default());
        Ok(Self { socket, leases, clock: Clock::system() })
    }

    pub(super) fn handle(&self, verb: &str, params: &Map<String, Value>) -> Result<Value, Refusal> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let kernel = Kernel { socket: &socket };
        match verb {
            "ban.list" => Ok(json!({"bans": shown(&kernel.list()?)})),
            "ban.apply" => self.apply(&kernel, params),
            "ban.confirm" => self.confirm(&kernel, params),
            _ => Err(super::handler::not_mine()),
        }
    }

    fn apply(&self, kernel: &Kernel<'_>, params: &Map<String, Value>) -> Result<Value, Refusal> {
        let add = addresses(params, "add")?;
        let remove = addresses(params, "remove")?;
        let invalid = |text: String| Err(Refusal::new(Code::InvalidParameter, text));
        if let Some(both) = add.iter().find(|address| remove.contains(address)) {
            return invalid(format!("{both} is to be added and removed; decide"));
        }
        let lease = params.get("lease_ms").and_then(Value::as_u64);
        if lease.is_some() && !remove.is_empty() {
            return invalid(
                "lease_ms holds for added bans; remove others by themselves".to_owned(),
            );
        }
        let millis = params.get("seconds").and_then(Value::as_u64).map(|s| s.saturating_mul(1000));
        let before = kernel.list()?;
        let gone: Vec<Banned> = remove.into_iter().filter(|one| before.contains_key(one)).collect();
        if before.len() + add.len() > BANS.1 {
            let text = format!("the table holds at most {} addresses", BANS.1);
            return Err(Refusal::new(Code::Unavailable, text));
        }
        let added: Vec<&Banned> = add.iter().filter(|one| !before.contains_key(one)).collect();
        let mut result =
            json!({"added": added, "removed": gone, "prolonged": add.len() - added.len()});
        if params.get("plan").and_then(Value::as_bool) == Some(true) {
            return Ok(result);
        }
        // What is there already stays as it is when the lease ends.
        let add: Vec<Banned> = match lease {
            Some(_) => added.into_iter().copied().collect(),
            None => add,
        };
        let first = match (millis, lease) {
            (Some(millis), Some(lease)) => Some(millis.min(lease)),
            (millis, lease) => lease.or(millis),
        };
        change(kernel, &before, &gone, &add, first)?;
        if let Some(lease) = lease {
            let until = self.clock.monotonic().saturating_add(Duration::from_millis(lease));
            let id = self.keep(Lease { until, addresses: add, millis })?;
            if let Some(members) = result.as_object_mut() {
                members.insert("lease".to_owned(), json!(id));
                members.insert("lease_ms".to_owned(), json!(lease));
            }
        }
        Ok(result)
    }

    fn confirm(&self, kernel: &Kernel<'_>, params: &Map<String, Value>) -> Result<Value, Refusal> {
        let id = params.get("lease").and_then(Value::as_str).unwrap_or_default();
        let found = self.leases().remove(id);
        let Some(lease) = found.filter(|lease| lease.until > self.clock.monotonic()) else {
            let text = "no such lease, or it has ended and its bans with it; apply them again";
            return Err(Refusal::new(Code::NotFound, text));
        };
        // Those that were freed meanwhile stay free.
        let before = kernel.list()?;
        let there: Vec<Banned> =
            lease.addresses.into_iter().filter(|one| before.contains_key(one)).collect();
        change(kernel, &before, &[], &there, lease.millis)?;
        Ok(json!({"confirmed": there}))
    }

    fn keep(&self, lease: Lease) -> Result<String, Refusal> {
        let id = secrets::random::hex().map_err(super::files::failed)?.expose().clone();
        let (mut leases, now) = (self.leases(), self.clock.monotonic());
        leases.retain(|_, lease| lease.until > now);
        if leases.len() >= BAN_LEASES {
            let text = format!("{BAN_LEASES} changes of bans wait to be confirmed");
            return Err(Refusal::new(Code::Busy, text));
        }
        leases.insert(id.clone(), lease);
        Ok(id)
    }

    fn leases(&self) -> MutexGuard<'_, BTreeMap<String, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One transaction. What is there already is taken out first, so that its time begins anew.
fn change(
    kernel: &Kernel<'_>,
    before: &Bans,
    gone: &[Banned],
    add: &[Banned],
    millis: Option<u64>,
) -> Result<(), Refusal> {
    let again = add.iter().filter(|one| before.contains_key(one));
    let out: Vec<Banned> = gone.iter().chain(again).copied().collect();
    let with_table = !kernel.has_table()?;
    kernel.commit(&table::change(with_table, &out, add, millis))
}

fn addresses(params: &Map<String, Value>, name: &str) -> Result<Vec<Banned>, Refusal> {
    let texts = params.get(name).and_then(Value::as_array).into_iter().flatten();
    let mut addresses = Vec::new();
    for text in texts.filter_map(Value::as_str) {
        let banned = Banned::parse(text).ok_or_else(|| {
            let text = format!("{name}: expected addresses, or 2001:db8::/64 of IPv6");
            Refusal::new(Code::InvalidParameter, text)
        })?;
        let address = banned.address;
        if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
            let text = format!("{banned} is not banned: that would cut this host off itself");
            return Err(Refusal::new(Code::InvalidParameter, text));
        }
        if !addresses.contains(&banned) {
            addresses.push(banned);
        }
    }
    Ok(addresses)
}

fn shown(bans: &Bans) -> Vec<Value> {
    let one = |(address, millis): (&Banned, &Option<u64>)| match millis {
        Some(millis) => json!({"address": address, "expires_in_ms": millis}),
        None => json!({"address": address}),
    };
    bans.iter().map(one).collect()
}

struct Kernel<'a> {
    socket: &'a OwnedFd,
}

impl Kernel<'_> {
    fn has_table(&self) -> Result<bool, Refusal> {
        let (bytes, last) = table::look_up();
        match self.ask(&bytes, last, |_| {}) {
            Ok(()) => Ok(true),
            Err(errno) if errno == libc::ENOENT => Ok(false),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Everything in both sets; nothing when there is no table yet.
    fn list(&self) -> Result<Bans, Refusal> {
        let mut bans = Bans::new();
        if !self.has_table()? {
            return Ok(bans);
        }
        for (whole, (bytes, last)) in table::list() {
            let banned = |(address, left)| (Banned { address, whole }, left);
            let read = |body: &[u8]| bans.extend(message::elements(body).into_iter().map(banned));
            self.ask(&bytes, last, read).map_err(failed)?;
        }
        Ok(bans)
    }

    fn commit(&self, change: &(Vec<u8>, u32)) -> Result<(), Refusal> {
        self.ask(&change.0, change.1, |_| {}).map_err(failed)
    }

    /// Sends a request and reads until the answer to its last message. An error number otherwise.
    fn ask(&self, bytes: &[u8], last: u32, mut each: impl FnMut(&[u8])) -> Result<(), i32> {
        let errno = |error: rustix::io::Errno| error.raw_os_error();
        send(self.socket, bytes, SendFlags::empty()).map_err(errno)?;
        let mut packet = vec![0; PACKET];
        let mut first = Ok(());
        for _ in 0..PACKETS {
            let (length, _) =
                recv(self.socket, &mut packet[..], RecvFlags::empty()).map_err(errno)?;
            for reply in message::replies(packet.get(..length).unwrap_or_default()) {
                match reply {
                    Reply::Body(body) => each(body),
                    Reply::Done => return first,
                    Reply::Error { seq, errno } => {
                        if errno != 0 && first.is_ok() {
                            first = Err(errno);
                        }
                        if seq == last {
                            return first;
                        }
                    }
                }
            }
        }
        Err(libc::EPROTO)
    }
}

fn failed(errno: i32) -> Refusal {
    let error = std::io::Error::from_raw_os_error(errno);
    let hint = match errno {
        libc::EPERM => "; the broker's unit needs CAP_NET_ADMIN",
        libc::EOPNOTSUPP | libc::EPROTONOSUPPORT => "; the kernel has no nf_tables",
        _ => "",
    };
    Refusal::new(Code::Unavailable, format!("nf_tables: {error}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's own filter in a network namespace of this test alone: the test runs itself
    /// once more in there.
    fn in_namespace(test: &str, body: impl FnOnce()) {
        const INSIDE: &str = "PROXWARD_TEST_NAMESPACE";
        if std::env::var_os(INSIDE).is_some() {
            return body();
        }
        let mut command = std::process::Command::new("unshare");
        command.arg("-n").arg(std::env::current_exe().unwrap());
        let name = format!("verbs::nft::tests::{test}");
        let run = command.args([name.as_str(), "--exact", "--nocapture"]).env(INSIDE, "1").output();
        match run {
            Ok(out) if String::from_utf8_lossy(&out.stdout).contains("1 passed") => {}
            Ok(out) if String::from_utf8_lossy(&out.stderr).contains("unshare failed") => {
                eprintln!("skipped: network namespaces can be made by root only");
            }
            other => panic!("{other:?}"),
        }
    }

    fn handle(nft: &Nft, verb: &str, params: &Value) -> Result<Value, Refusal> {
        nft.handle(verb, params.as_object().unwrap())
    }

    #[test]
    fn bans_come_and_go_in_one_transaction() {
        in_namespace("bans_come_and_go_in_one_transaction", || {
            let nft = Nft::open().unwrap();
            let list = || handle(&nft, "ban.list", &json!({})).unwrap()["bans"].clone();
            assert_eq!(list(), json!([]));
            let plan = json!({"add": ["192.0.2.1"], "plan": true});
            assert_eq!(handle(&nft, "ban.apply", &plan).unwrap()["added"], json!(["192.0.2.1"]));
            assert_eq!(list(), json!([]), "a plan changes nothing");
            let add = json!({"add": ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.2"]});
            handle(&nft, "ban.apply", &add).unwrap();
            let address = |n: usize| list()[n]["address"].as_str().unwrap().to_owned();
            assert_eq!(
                [address(0), address(1), address(2)],
                ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
            );
            let both = json!({"add": ["192.0.2.3", "192.0.2.2"], "remove": ["192.0.2.1", "203.0.113.1"], "seconds": 60});
            let done = handle(&nft, "ban.apply", &both).unwrap();
            assert_eq!(
                done,
                json!({"added": ["192.0.2.3"], "removed": ["192.0.2.1"], "prolonged": 1})
            );
            assert_eq!([address(0), address(1)], ["192.0.2.2", "192.0.2.3"]);
            let left = list()[0]["expires_in_ms"].as_u64().unwrap();
            assert!((1..=60_000).contains(&left), "{left}");
        });
    }

    #[test]
    fn the_table_is_what_nft_shows() {
        in_namespace("the_table_is_what_nft_shows", || {
            let nft = Nft::open().unwrap();
            handle(&nft, "ban.apply", &json!({"add": ["192.0.2.1"]})).unwrap();
            let Ok(out) = std::process::Command::new("nft").args(["list", "ruleset"]).output()
            else {
                eprintln!("skipped: nft is not installed");
                return;
            };
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            for part in [
                "table inet proxward_broker {",
                "elements = { 192.0.2.1 }",
                "ip saddr @banned4 drop",
                "ip6 saddr @banned6 drop",
                "type filter hook input priority filter - 10; policy accept;",
            ] {
                assert!(text.contains(part), "{part}\n{text}");
            }
        });
    }

    #[test]
    fn bans_on_trial_end_by_the_kernel_unless_confirmed() {
        in_namespace("bans_on_trial_end_by_the_kernel_unless_confirmed", || {
            let nft = Nft::open().unwrap();
            let list = || handle(&nft, "ban.list", &json!({})).unwrap()["bans"].clone();
            handle(&nft, "ban.apply", &json!({"add": ["192.0.2.9"]})).unwrap();
            let trial = json!({"add": ["192.0.2.1", "192.0.2.9"], "lease_ms": 60_000});
            let done = handle(&nft, "ban.apply", &trial).unwrap();
            assert!(list()[0]["expires_in_ms"].as_u64().unwrap() <= 60_000);
            assert_eq!(list()[1], json!({"address": "192.0.2.9"}), "older bans are not on trial");
            let confirm = json!({"lease": done["lease"]});
            handle(&nft, "ban.confirm", &confirm).unwrap();
            assert_eq!(list()[0], json!({"address": "192.0.2.1"}));
            assert_eq!(handle(&nft, "ban.confirm", &confirm).unwrap_err().code, Code::NotFound);
            let short = json!({"add": ["192.0.2.2"], "seconds": 3600, "lease_ms": 100});
            let id = handle(&nft, "ban.apply", &short).unwrap()["lease"].clone();
            std::thread::sleep(Duration::from_millis(300));
            let late = handle(&nft, "ban.confirm", &json!({"lease": id})).unwrap_err();
            assert_eq!((late.code, list().as_array().unwrap().len()), (Code::NotFound, 2));
            let both = json!({"remove": ["192.0.2.1"], "lease_ms": 1000});
            assert!(handle(&nft, "ban.apply", &both).is_err());
        });
    }

    #[test]
    fn a_64_of_ipv6_is_shut_out_whole() {
        in_namespace("a_64_of_ipv6_is_shut_out_whole", || {
            let nft = Nft::open().unwrap();
            let add = json!({"add": ["2001:db8:0:1::/64", "2001:db8::1"], "seconds": 60});
            let done = handle(&nft, "ban.apply", &add).unwrap();
            assert_eq!(done["added"], json!(["2001:db8:0:1::/64", "2001:db8::1"]));
            let list = handle(&nft, "ban.list", &json!({})).unwrap()["bans"].clone();
            let texts: Vec<_> = list.as_array().unwrap().iter().map(|b| &b["address"]).collect();
            assert_eq!(texts, ["2001:db8::1", "2001:db8:0:1::/64"]);
            if let Ok(out) = std::process::Command::new("nft").args(["list", "ruleset"]).output() {
                let text = String::from_utf8_lossy(&out.stdout).into_owned();
                // Versions of nft differ in whether they write `==` in between.
                let rule = text.lines().find(|line| line.contains("@banned64 drop"));
                let mask = "ip6 saddr & ffff:ffff:ffff:ffff::";
                assert!(rule.is_some_and(|rule| rule.contains(mask)), "{text}");
            }
            handle(&nft, "ban.apply", &json!({"remove": ["2001:db8:0:1::/64"]})).unwrap();
            for wrong in ["2001:db8::1/64", "192.0.2.0/64", "2001:db8::/48", "::/64"] {
                assert!(handle(&nft, "ban.apply", &json!({"add": [wrong]})).is_err(), "{wrong}");
            }
        });
    }

    #[test]
    fn many_at_once_are_one_transaction() {
        in_namespace("many_at_once_are_one_transaction", || {
            let nft = Nft::open().unwrap();
            let many: Vec<String> =
                (0..1024).map(|n| format!("198.51.{}.{}", 100 + n / 256, n % 256)).collect();
            handle(&nft, "ban.apply", &json!({"add": many})).unwrap();
            assert_eq!(
                handle(&nft, "ban.list", &json!({})).unwrap()["bans"].as_array().unwrap().len(),
                1024
            );
            handle(&nft, "ban.apply", &json!({"remove": many})).unwrap();
            assert_eq!(handle(&nft, "ban.list", &json!({})).unwrap()["bans"], json!([]));
        });
    }

    #[test]
    fn what_would_cut_the_host_off_is_refused() {
        in_namespace("what_would_cut_the_host_off_is_refused", || {
            let nft = Nft::open().unwrap();
            for address in
                ["127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1", "x", "10.0.0.0/8"]
            {
                let refused = handle(&nft, "ban.apply", &json!({"add": [address]})).unwrap_err();
                assert_eq!(refused.code, Code::InvalidParameter, "{address}");
            }
            let both = json!({"add": ["192.0.2.1"], "remove": ["192.0.2.1"]});
            assert!(handle(&nft, "ban.apply", &both).is_err());
        });
    }
}
