//! The cheapest Proxmox VE there can be: fixed answers by path.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Rows of the list: some 200 KB.
const ROWS: usize = 715;
/// Bytes of the script.
const SCRIPT: usize = 3_000_000;

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: upgrade\r\nSec-WebSocket-Protocol: binary\r\n\r\n";

struct Answers {
    small: Vec<u8>,
    list: Vec<u8>,
    script: Vec<u8>,
    login: Vec<u8>,
}

/// Serves until the process ends, in a thread of its own.
pub(super) fn start() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let answers = Arc::new(answers());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answers = Arc::clone(&answers);
                connections.spawn(async move { serve(stream, &answers).await });
                while connections.try_join_next().is_some() {}
            }
        });
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(4096);
    loop {
        let end = loop {
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        };
        let text = String::from_utf8_lossy(head.get(..end).unwrap_or_default()).into_owned();
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
        });
        while head.len() < end + length.unwrap_or_default() {
            stream.read_buf(&mut head).await?;
        }
        head.clear();
        if text.contains("vncwebsocket") {
            stream.write_all(SWITCHED.as_bytes()).await?;
            if text.contains("/nodes/stalled/") {
                // Reads nothing, for as long as the program runs.
                return std::future::pending().await;
            }
            return echo(stream).await;
        }
        let answer = match text.split(' ').nth(1).unwrap_or_default() {
            "/api2/json/cluster/resources" => &answers.list,
            path if path.starts_with("/pve2/") => &answers.script,
            path if path.ends_with("/access/ticket") => &answers.login,
            _ => &answers.small,
        };
        stream.write_all(answer).await?;
    }
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut piece).await? {
            0 => return Ok(()),
            count => stream.write_all(piece.get(..count).unwrap_or_default()).await?,
        }
    }
}

fn answers() -> Answers {
    let row = |number: usize| {
        format!(
            "{{\"cpu\":{}.0{},\"disk\":0,\"diskread\":{},\"id\":\"qemu/{number}\",\"maxcpu\":4,\
             \"maxdisk\":34359738368,\"maxmem\":8589934592,\"mem\":{},\"name\":\"guest-{number}\",\
             \"netin\":{},\"netout\":{},\"node\":\"pve{}\",\"status\":\"running\",\"template\":0,\
             \"type\":\"qemu\",\"uptime\":{},\"vmid\":{number}}}",
            number % 3,
            number * 7919 % 100_003,
            number * 104_729,
            number * 7_368_787 % 8_589_934_592,
            number * 15_485_863,
            number * 32_452_843,
            number % 5,
            number * 49_979 % 9_999_991,
        )
    };
    let rows: Vec<_> = (100..100 + ROWS).map(row).collect();
    let mut script = String::with_capacity(SCRIPT + 200);
    let mut number = 0;
    while script.len() < SCRIPT {
        number += 1;
        script.push_str(&format!(
            "Ext.define('PVE.panel.Part{number}', {{ extend: 'Ext.panel.Panel', width: {}, \
             initComponent: function() {{ let me = this; me.callParent([{}]); }} }});\n",
            number * 7919 % 1009,
            number * 104_729 % 99_991
        ));
    }
    let ticket = format!("PVE:root@pam:6B00CE46::{}==", "B".repeat(342));
    let login = format!(
        "{{\"data\":{{\"username\":\"root@pam\",\"ticket\":\"{ticket}\",\"cap\":{{}},\
         \"CSRFPreventionToken\":\"6B00CE46:{}\"}}}}",
        "A".repeat(43)
    );
    let json = "Content-Type: application/json;charset=UTF-8\r\n";
    Answers {
        small: answer(
            json,
            "{\"data\":{\"release\":\"9.2\",\"repoid\":\"0\",\"version\":\"9.2.1\"}}",
        ),
        list: answer(json, &format!("{{\"data\":[{}]}}", rows.join(","))),
        script: answer(
            "Content-Type: application/javascript\r\n\
             Last-Modified: Fri, 20 Nov 2026 22:38:54 GMT\r\n",
            &script,
        ),
        login: answer(json, &login),
    }
}

fn answer(lines: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nServer: pve-api-daemon/3.0\r\n{lines}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
