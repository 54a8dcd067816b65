//! Our table: made, looked up, listed, changed.

use std::net::IpAddr;

use super::Banned;
use super::message::Writer;

const TABLE: &str = "proxward_broker";
const CHAIN: &str = "input";

/// `NFPROTO_INET`.
const INET: u8 = 1;

/// Flags of a message.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// Elements of one message: a list's length has 16 bits.
const ELEMENTS: usize = 512;

/// A family's set.
struct Set {
    name: &'static str,
    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
    protocol: u8,
    /// nft's number for the type of its keys, and their bytes.
    key: (u32, u32),
    /// Where the source address is in the packet.
    offset: u32,
    /// Whether it holds networks: only the first 64 bits of the address are looked up.
    whole: bool,
}

const SETS: [Set; 3] = [
    Set { name: "banned4", protocol: 2, key: (7, 4), offset: 12, whole: false },
    Set { name: "banned6", protocol: 10, key: (8, 16), offset: 8, whole: false },
    Set { name: "banned64", protocol: 10, key: (8, 16), offset: 8, whole: true },
];

/// A /64 of IPv6.
const MASK: [u8; 16] = [255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0];

/// Asks whether the table is there.
pub(super) fn look_up() -> (Vec<u8>, u32) {
    let mut writer = Writer::default();
    let open = writer.begin(1, REQUEST | ACK, INET);
    writer.text(1, TABLE);
    writer.end(open);
    writer.finish()
}

/// Asks for the elements of each set, and says whether it holds networks.
pub(super) fn list() -> impl Iterator<Item = (bool, (Vec<u8>, u32))> {
    SETS.iter().map(|set| {
        let mut writer = Writer::default();
        let open = writer.begin(13, REQUEST | DUMP, INET);
        writer.text(1, TABLE);
        writer.text(2, set.name);
        writer.end(open);
        (set.whole, writer.finish())
    })
}

/// One transaction: the table when it is not there, what goes out, what comes in.
pub(super) fn change(
    with_table: bool,
    out: &[Banned],
    add: &[Banned],
    millis: Option<u64>,
) -> (Vec<u8>, u32) {
    let mut writer = Writer::default();
    writer.batch(16);
    if with_table {
        make(&mut writer);
    }
    for set in &SETS {
        let is_in = |banned: &&Banned| {
            banned.address.is_ipv4() == (set.protocol == 2) && banned.whole == set.whole
        };
        let of = |list: &[Banned]| -> Vec<IpAddr> {
            list.iter().filter(is_in).map(|banned| banned.address).collect()
        };
        of(out).chunks(ELEMENTS).for_each(|part| elements(&mut writer, 14, set, part, None));
        of(add).chunks(ELEMENTS).for_each(|part| elements(&mut writer, 12, set, part, millis));
    }
    // A message that does nothing, to be answered last: the table, named once more.
    let open = writer.begin(0, REQUEST | ACK | CREATE, INET);
    writer.text(1, TABLE);
    writer.end(open);
    let last = writer.seq();
    writer.batch(17);
    (writer.finish().0, last)
}

fn make(writer: &mut Writer) {
    let open = writer.begin(0, REQUEST | CREATE, INET);
    writer.text(1, TABLE);
    writer.end(open);
    for (id, set) in (1..).zip(&SETS) {
        let open = writer.begin(9, REQUEST | CREATE, INET);
        writer.text(1, TABLE);
        writer.text(2, set.name);
        // NFT_SET_TIMEOUT
        writer.number(3, 0x10);
        writer.number(4, set.key.0);
        writer.number(5, set.key.1);
        writer.number(10, id);
        writer.end(open);
    }
    let open = writer.begin(3, REQUEST | CREATE, INET);
    writer.text(1, TABLE);
    writer.text(3, CHAIN);
    // NF_INET_LOCAL_IN, ten before the priority of filters
    writer.nest(4, |hook| {
        hook.number(1, 1);
        hook.number(2, (-10_i32).cast_unsigned());
    });
    // NF_ACCEPT
    writer.number(5, 1);
    writer.text(7, "filter");
    writer.end(open);
    for set in &SETS {
        let open = writer.begin(6, REQUEST | CREATE | APPEND, INET);
        writer.text(1, TABLE);
        writer.text(2, CHAIN);
        writer.nest(4, |list| rule(list, set));
        writer.end(open);
    }
}

/// `meta nfproto FAMILY SADDR [& MASK] @SET drop`
fn rule(list: &mut Writer, set: &Set) {
    // NFT_REG_1 holds what is compared; NFT_REG_VERDICT what becomes of the packet.
    expression(list, "meta", |data| {
        data.number(1, 1);
        // NFT_META_NFPROTO
        data.number(2, 15);
    });
    expression(list, "cmp", |data| {
        data.number(1, 1);
        data.number(2, 0);
        data.nest(3, |value| value.bytes(1, &[set.protocol]));
    });
    expression(list, "payload", |data| {
        data.number(1, 1);
        // NFT_PAYLOAD_NETWORK_HEADER
        data.number(2, 1);
        data.number(3, set.offset);
        data.number(4, set.key.1);
    });
    if set.whole {
        expression(list, "bitwise", |data| {
            // Register, result's register, length, mask, and what is then flipped: nothing.
            data.number(1, 1);
            data.number(2, 1);
            data.number(3, set.key.1);
            data.nest(4, |value| value.bytes(1, &MASK));
            data.nest(5, |value| value.bytes(1, &[0; 16]));
        });
    }
    expression(list, "lookup", |data| {
        data.text(1, set.name);
        data.number(2, 1);
    });
    expression(list, "immediate", |data| {
        data.number(1, 0);
        // NF_DROP
        data.nest(2, |value| value.nest(2, |verdict| verdict.number(1, 0)));
    });
}

fn expression(list: &mut Writer, name: &str, data: impl FnOnce(&mut Writer)) {
    list.nest(1, |one| {
        one.text(1, name);
        one.nest(2, data);
    });
}

fn elements(writer: &mut Writer, kind: u16, set: &Set, list: &[IpAddr], millis: Option<u64>) {
    let open = writer.begin(kind, REQUEST | CREATE, INET);
    writer.text(1, TABLE);
    writer.text(2, set.name);
    writer.nest(3, |elements| {
        for address in list {
            elements.nest(1, |element| {
                element.nest(1, |key| match address {
                    IpAddr::V4(address) => key.bytes(1, &address.octets()),
                    IpAddr::V6(address) => key.bytes(1, &address.octets()),
                });
                if let Some(millis) = millis {
                    element.bytes(4, &millis.to_be_bytes());
                }
            });
        }
    });
    writer.end(open);
}
