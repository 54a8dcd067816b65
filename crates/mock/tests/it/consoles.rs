//! From a ticket to a terminal, over a real connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use mock::{Config, Mock, Seed};
use secrets::SecretString;
use serde_json::Value;

const AUTHORIZATION: &str = "Authorization: PVEAPIToken=root@pam!ci=secret\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn start() -> Mock {
    let mut seed = Seed::small();
    seed.user_cfg = "user:root@pam:1:0:::::\ntoken:root@pam!ci:0:0::\n".to_owned();
    seed.tokens = vec![("root@pam!ci".to_owned(), SecretString::new("secret".to_owned()))];
    let mut config = Config::new(seed);
    config.time_scale = 0.0;
    Mock::start(config, TcpListener::bind("127.0.0.1:0").unwrap()).unwrap()
}

/// Sends one request and reads all of the answer.
fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} /api2/json{path} HTTP/1.1\r\nConnection: close\r\n{AUTHORIZATION}\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    (head.lines().next().unwrap().to_owned(), body["data"].clone())
}

fn encoded(ticket: &str) -> String {
    ticket.replace('%', "%25").replace('+', "%2B").replace('=', "%3D")
}

/// Opens a websocket; the connection after the head of the answer, and that head.
fn open(address: SocketAddr, path: &str, port: &str, ticket: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let ticket = encoded(ticket);
    write!(
        stream,
        "GET /api2/json{path}/vncwebsocket?port={port}&vncticket={ticket} HTTP/1.1\r\n\
         {AUTHORIZATION}{UPGRADE}\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    (stream, String::from_utf8(head).unwrap())
}

/// A text frame with a mask of zeros.
fn send(stream: &mut TcpStream, text: &str) {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(short @ ..126) => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    stream.write_all(&frame).unwrap();
}

fn expect(stream: &mut TcpStream, text: &str) {
    let mut frame = vec![0; 2 + text.len()];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame[..2], [0x82, u8::try_from(text.len()).unwrap()]);
    assert_eq!(&frame[2..], text.as_bytes());
}

fn text<'v>(data: &'v Value, name: &str) -> &'v str {
    data[name].as_str().unwrap_or_default()
}

#[test]
fn terminals_of_nodes_and_guests_open_with_their_own_ticket() {
    let mock = start();
    let address = mock.local_addr();
    for (path, task) in [
        ("/nodes/pve1", "vncshell::"),
        ("/nodes/pve1/qemu/100", "vncproxy:100:"),
        ("/nodes/pve1/lxc/200", "vncproxy:200:"),
    ] {
        let (line, data) = call(address, "POST", &format!("{path}/termproxy"), "");
        assert_eq!(line, "HTTP/1.1 200 OK", "{path}");
        let (user, ticket, port) =
            (text(&data, "user"), text(&data, "ticket"), text(&data, "port"));
        assert_eq!(user, "root@pam!ci");
        assert!(text(&data, "upid").ends_with(&format!(":{task}root@pam!ci:")), "{data}");
        let (mut stream, head) = open(address, path, port, ticket);
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        send(&mut stream, &format!("{user}:{ticket}\n"));
        expect(&mut stream, "OK");
        send(&mut stream, "1:80:24:20:3:ls\r");
        expect(&mut stream, "ls\r");
        let (mut refused, _) = open(address, path, port, ticket);
        send(&mut refused, "root@pam:nonsense\n");
        assert_eq!(refused.read(&mut [0; 8]).unwrap(), 0);
    }
}

#[test]
fn a_ticket_is_for_one_port_and_path() {
    let mock = start();
    let address = mock.local_addr();
    let (_, first) = call(address, "POST", "/nodes/pve1/qemu/100/vncproxy", "generate-password=1");
    let (_, second) = call(address, "POST", "/nodes/pve1/qemu/100/vncproxy", "");
    assert_eq!(text(&first, "password").len(), 8);
    assert!(second.get("password").is_none() && text(&second, "cert").is_empty());
    let ticket = text(&first, "ticket");
    let (own, other) = (text(&first, "port"), text(&second, "port"));
    assert_eq!((own, other), ("5900", "5901"));
    let line = |path: &str, port: &str| open(address, path, port, ticket).1[9..12].to_owned();
    assert_eq!(line("/nodes/pve1/qemu/100", own), "101");
    assert_eq!(line("/nodes/pve1/qemu/100", other), "401");
    assert_eq!(line("/nodes/pve1/qemu/101", own), "401");
    assert_eq!(line("/nodes/pve1", own), "401");
    let (mut stream, _) = open(address, "/nodes/pve1/qemu/100", own, ticket);
    expect(&mut stream, "RFB 003.008\n");

    let question = |port: &str, privileges: &str| {
        let ticket = encoded(ticket);
        let body = format!(
            "authid=root@pam!ci&path=/vms/100&privs={privileges}&port={port}&vncticket={ticket}"
        );
        call(address, "POST", "/access/vncticket", &body).0
    };
    assert_eq!(question(own, "VM.Console"), "HTTP/1.1 200 OK");
    assert_eq!(question(other, "VM.Console"), "HTTP/1.1 401 authentication failure");
}

#[test]
fn what_has_no_console_says_so() {
    let mock = start();
    let call = |path: &str| call(mock.local_addr(), "POST", path, "").0;
    assert_eq!(
        call("/nodes/pve1/qemu/999/vncproxy"),
        "HTTP/1.1 500 Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"
    );
    assert_eq!(call("/nodes/pve1/qemu/100/spiceproxy"), "HTTP/1.1 500 no spice port");
    assert_eq!(call("/nodes/pve1/lxc/200/spiceproxy"), "HTTP/1.1 200 OK");
    assert_eq!(call("/nodes/pve1/spiceshell"), "HTTP/1.1 200 OK");
}
