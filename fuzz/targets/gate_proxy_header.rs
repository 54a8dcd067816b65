//! The PROXY protocol: a header is the same however its bytes arrive, whatever follows, and in
//! either version.
#![no_main]

use std::net::SocketAddr;

use gate::fuzzing::proxy_header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let whole = proxy_header(bytes);
    let early = proxy_header(&bytes[..usize::from(cut) % (bytes.len() + 1)]);
    if early != Ok(None) {
        assert_eq!(early, whole, "bytes behind an answer changed it");
    }
    if let Ok(Some((client, length))) = whole {
        assert!(length <= bytes.len());
        if let Some(client) = client {
            for header in [version_1(client), version_2(client)] {
                assert_eq!(proxy_header(&header), Ok(Some((Some(client), header.len()))));
            }
        }
    }
});

fn version_1(client: SocketAddr) -> Vec<u8> {
    let (family, to) = if client.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "::1") };
    format!("PROXY {family} {} {to} {} 8006\r\n", client.ip(), client.port()).into_bytes()
}

fn version_2(client: SocketAddr) -> Vec<u8> {
    let (family, from) = match client {
        SocketAddr::V4(client) => (0x11, client.ip().octets().to_vec()),
        SocketAddr::V6(client) => (0x21, client.ip().octets().to_vec()),
    };
    let to = vec![1; from.len()];
    let payload = [from, to, client.port().to_be_bytes().to_vec(), vec![0x1f, 0x46]].concat();
    let length = u16::try_from(payload.len()).expect("36 at most").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec(), vec![family], length.to_vec(), payload].concat()
}
