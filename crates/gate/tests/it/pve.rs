//! A peer that answers what the test tells it to, byte for byte.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Which connection, counted from 0.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(have, _)| have.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }
}

/// What to do after the answer's bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Stay,
    Close,
    /// Send back whatever comes, until the end.
    Echo,
    /// Answer, wait for the next request, and close instead of answering it.
    CloseOnNext,
}

/// Answers by path.
pub(crate) struct Pve {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

type Script = HashMap<&'static str, (Vec<u8>, Then)>;

impl Pve {
    pub(crate) fn start(script: &[(&'static str, &str, Then)]) -> Self {
        let script: Script = script
            .iter()
            .map(|(path, answer, then)| (*path, (answer.as_bytes().to_vec(), *then)))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), Arc::clone(&seen));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                thread::spawn(move || serve(&stream.unwrap(), number, &script, &log));
            }
        });
        Self { address, seen }
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// A JSON answer as pveproxy writes it.
pub(crate) fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n\
         Cache-Control: max-age=0\r\n\
         Connection: Keep-Alive\r\n\
         Date: Fri, 20 Nov 2026 22:51:22 GMT\r\n\
         Pragma: no-cache\r\n\
         Server: pve-api-daemon/3.0\r\n\
         Content-Length: {}\r\n\
         Content-Type: application/json;charset=UTF-8\r\n\
         Expires: Fri, 20 Nov 2026 22:51:22 GMT\r\n\
         \r\n\
         {body}",
        body.len()
    )
}

fn serve(stream: &TcpStream, number: usize, script: &Script, log: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    let mut closing = false;
    while let Some(seen) = read(&mut reader, number) {
        let path = seen.line.split([' ', '?']).nth(1).unwrap().to_owned();
        log.lock().unwrap().push(seen);
        if closing {
            return;
        }
        let (answer, then) = script.get(path.as_str()).unwrap_or_else(|| panic!("{path}"));
        let _ = writer.write_all(answer);
        match then {
            Then::Stay => {}
            Then::CloseOnNext => closing = true,
            Then::Close => return,
            Then::Echo => {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = reader.read(&mut buffer) {
                    let _ = writer.write_all(&buffer[..count]);
                }
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>, connection: usize) -> Option<Seen> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.strip_suffix("\r\n")?.to_owned())
    };
    let mut seen = Seen { line: line()?, headers: Vec::new(), body: Vec::new(), connection };
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        seen.headers.push((name.to_owned(), value.to_owned()));
    }
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    seen.body = vec![0; length];
    reader.read_exact(&mut seen.body).ok()?;
    Some(seen)
}
