//! A console whose one end does not read (Proxmox VE bug 7483: pveproxy kept what the other sent).

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::client::Client;
use super::process::Files;
use crate::home::Home;

/// What a connection may grow by.
const GROWTH: u64 = 256 * 1024;
/// What is offered to an end that does not read.
const OFFERED: usize = 1024 * 1024 * 1024;
/// So long nothing more is taken: the ends of the kernel are full.
const STALLED: Duration = Duration::from_secs(1);

const REQUEST: &str = "/vncwebsocket?port=5900&vncticket=PVEVNC%3Ax HTTP/1.1\r\nHost: a\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: upgrade\r\n\r\nready";

#[test]
fn who_does_not_read_costs_no_memory() -> Result<()> {
    let home = Home::new()?;
    let upstream = TcpListener::bind("127.0.0.1:0")?;
    let address = upstream.local_addr()?;
    thread::spawn(move || {
        for stream in upstream.incoming().map_while(Result::ok) {
            thread::spawn(move || console(stream));
        }
    });
    let lines = "workers = 1\n[gate.sessions]\nunknown_console_tickets = \"pass\"";
    let files = Files::write(&home, &format!("http://{address}"), lines)?;
    let gate = files.start(&home)?;
    // Everything that is made once is made by consoles that work.
    for _ in 0..4 {
        let mut client = open(&files, "echo")?;
        for _ in 0..64 {
            ensure!(client.write(&frame(), STALLED)?, "an echo is not taken");
            client.exactly(frame().len())?;
        }
    }

    let before = gate.memory()?;
    let mut client = open(&files, "stall")?;
    let (mut taken, frame) = (0, frame());
    while taken < OFFERED && client.write(&frame, STALLED)? {
        taken += frame.len();
    }
    ensure!(taken < OFFERED, "everything was taken by an end that does not read");
    let grown = gate.memory()?.saturating_sub(before);
    ensure!(grown <= GROWTH, "grown by {grown} bytes for a backend that does not read");

    let before = gate.memory()?;
    let _client = open(&files, "flood")?;
    thread::sleep(STALLED * 2);
    let grown = gate.memory()?.saturating_sub(before);
    ensure!(grown <= GROWTH, "grown by {grown} bytes for a client that does not read");
    let ended = gate.end("KILL")?;
    ensure!(ended.code.is_none(), "{ended}");
    Ok(())
}

fn open(files: &Files, what: &str) -> Result<Client> {
    let mut client = Client::connect(files)?;
    let answer = client.ask(&format!("GET /api2/json/nodes/a/{what}{REQUEST}"))?;
    ensure!(answer.status == 101, "{answer:?}");
    client.exactly(b"ready".len())?;
    Ok(client)
}

/// A masked binary frame of 16 KiB, its mask all zeros.
fn frame() -> Vec<u8> {
    let mut frame = vec![0x82, 0x80 | 126, 0x40, 0x00, 0, 0, 0, 0];
    frame.resize(8 + 0x4000, b'x');
    frame
}

/// Echoes, reads nothing, or writes without end, as the path says.
fn console(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.extend(byte);
    }
    let _ = stream.write_all(SWITCHED);
    let head = String::from_utf8_lossy(&head);
    let mut piece = vec![0; 64 * 1024];
    if head.contains("/echo/") {
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            let _ = stream.write_all(piece.get(..count).unwrap_or_default());
        }
    } else if head.contains("/flood/") {
        for _ in 0..OFFERED / piece.len() {
            if stream.write_all(&piece).is_err() {
                break;
            }
        }
    } else {
        thread::sleep(Duration::from_secs(60));
    }
}
