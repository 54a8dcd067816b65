//! Connections: what the policy names, and nothing that only looks like it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::range::{Range, has_node, modes};
use crate::program::{Running, finish};

/// Tries addresses one after the other, and prints how each ended.
const TRY: &str = "const net = require('net'); (async () => { \
    for (const to of process.argv.slice(1)) { \
    const at = to.lastIndexOf(':'); \
    const s = net.connect({ host: to.slice(0, at), port: +to.slice(at + 1), autoSelectFamily: false }); \
    const r = await new Promise(d => { s.on('connect', () => d('did')); s.on('error', e => d(e.code)); \
    setTimeout(() => d('TIMEOUT'), 4000).unref() }); \
    s.destroy(); console.log(to, r) } process.exit(0) })()";

fn tried(
    range: &Range,
    mode: &str,
    options: &[&str],
    to: &[String],
) -> Result<Vec<(String, String)>> {
    let mut command = vec!["node", "-e", TRY];
    command.extend(to.iter().map(String::as_str));
    let ended = range.run(mode, options, &command)?.success()?;
    let lines = ended.stdout.lines().filter_map(|line| line.split_once(' '));
    Ok(lines.map(|(to, result)| (to.to_owned(), result.to_owned())).collect())
}

#[test]
fn nothing_outside_is_reached() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    let to = ["192.0.2.1:80", "169.254.169.254:80", "fd00:ec2::254:80", "2001:db8::1:443"];
    let to = to.map(str::to_owned);
    for mode in modes()? {
        for options in [&[][..], &["--connect", "192.0.2.9:9"]] {
            for (to, result) in tried(&range, mode, options, &to)? {
                ensure!(
                    ["EPERM", "ENETUNREACH", "EHOSTUNREACH"].contains(&result.as_str()),
                    "{mode}: {to}: {result}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn restricted_means_every_spelling() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    let (open, closed) = (range.open_port()?, range.closed_port()?);
    let own = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // The address this machine would use to get out; no packet is sent.
    let own = own.connect("192.0.2.1:9").and_then(|()| own.local_addr()).map(|own| own.ip());
    let mut spelled: Vec<String> =
        ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"]
            .map(|host| format!("{host}:{closed}"))
            .to_vec();
    spelled.extend(own.iter().map(|ip| format!("{ip}:{closed}")));
    let ports = open.to_string();
    let restricted = [
        "--safe-mode",
        "--restricted-outgoing-addresses",
        "127.0.0.1",
        "--allowed-outgoing-ports",
        &ports,
    ];
    for mode in modes()? {
        for (to, result) in tried(&range, mode, &restricted, &spelled)? {
            ensure!(result != "did", "{mode}: {to} is reached");
        }
        let good = [format!("127.0.0.1:{open}")];
        let relaxed = tried(&range, mode, &restricted, &good)?;
        ensure!(relaxed.iter().all(|(_, result)| result == "did"), "{mode}: {relaxed:?}");
        // The control: what is not restricted is reached.
        let other = ["--restricted-outgoing-addresses", "192.0.2.77"];
        let control = tried(&range, mode, &other, &[format!("127.0.0.1:{closed}")])?;
        ensure!(control.iter().all(|(_, result)| result == "did"), "{mode}: {control:?}");
    }
    Ok(())
}

#[test]
fn only_names_of_the_policy_resolve() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    let open = range.open_port()?;
    let connect = format!("localhost:{open}");
    let to =
        [connect.clone(), format!("example.com:{open}"), format!("secret.exfil.example:{open}")];
    for mode in modes()? {
        let seen = tried(&range, mode, &["--connect", &connect], &to)?;
        let results: Vec<&str> = seen.iter().map(|(_, result)| result.as_str()).collect();
        // localhost may stand for ::1 first, where nobody listens.
        ensure!(["did", "ECONNREFUSED"].contains(&results[0]), "{mode}: {seen:?}");
        ensure!(
            results[1..].iter().all(|one| ["ENOTFOUND", "EAI_AGAIN"].contains(one)),
            "{seen:?}"
        );
    }
    Ok(())
}

#[test]
fn ports_are_the_cells_own() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    let closed = range.closed_port()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let free = listener.local_addr()?.port();
    drop(listener);
    let script = format!(
        "const net = require('net'); net.createServer().listen({closed}, '127.0.0.1', () => console.log('bound')); \
         require('inspector').open({free}, '127.0.0.1'); console.error('open'); setTimeout(() => process.exit(0), 1500)"
    );
    for mode in modes()? {
        let mut running = Running::start(&mut range.cell(mode, &[], &["node", "-e", &script])?)?;
        running.until("it listens", |it| it.stdout().contains("bound").then_some(()))?;
        ensure!(
            TcpStream::connect(("127.0.0.1", free)).is_err(),
            "{mode}: the inspector is reached"
        );
        running.wait(crate::program::PATIENCE)?.success()?;
    }
    Ok(())
}

#[test]
fn a_published_port_belongs_to_the_supervisor() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    let script = "const http = require('http'); const port = +process.argv[1]; \
        require('net').createServer().on('error', e => console.log(e.code)).listen(80); \
        http.createServer((q, r) => r.end('from the cell')).listen(port, () => console.log('ready')); \
        setTimeout(() => process.exit(0), 20000)";
    for mode in modes()? {
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let options = ["--publish", &free];
        let mut running =
            Running::start(&mut range.cell(mode, &options, &["node", "-e", script, &free])?)?;
        running.until("it listens", |it| it.stdout().contains("ready").then_some(()))?;
        ensure!(running.stdout().contains("EACCES"), "{mode}: port 80 was bound");
        let other = TcpListener::bind(format!("127.0.0.1:{free}"));
        ensure!(other.is_err(), "{mode}: somebody else could listen on the published port");
        let mut stream = TcpStream::connect(format!("127.0.0.1:{free}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.ends_with("from the cell"), "{mode}: {answer}");
    }
    Ok(())
}

/// A listener made by whoever starts the supervisor, as a service manager does.
#[test]
fn a_handed_in_listener_is_descriptor_3() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    let dir = range.dir.display().to_string();
    let program = crate::program::proxward()?;
    let program = program.to_str().context("a path")?;
    let server = "require('net').createServer(s => s.end('handed ' + process.env.LISTEN_FDS)).listen({ fd: 3 }, \
        () => console.log('ready')); setTimeout(() => process.exit(0), 20000)";
    let python = "import os, socket, sys\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(5)\n\
        print(s.getsockname()[1], flush=True)\nos.dup2(s.fileno(), 3); os.set_inheritable(3, True)\nos.environ['LISTEN_FDS'] = '1'\n\
        os.environ['LISTEN_PID'] = str(os.getpid())\nos.execv(sys.argv[1], sys.argv[1:])";
    for mode in modes()? {
        let words = [
            "-c", python, program, "cell", "run", "--mode", mode, "--dir", &dir, "--", "node",
            "-e", server,
        ];
        let mut running = Running::start(range.home.command("python3").args(words))?;
        running.until("it listens", |it| it.stdout().contains("ready").then_some(()))?;
        let port: u16 = running.stdout().lines().next().context("a port")?.trim().parse()?;
        let mut answer = String::new();
        TcpStream::connect(("127.0.0.1", port))?.read_to_string(&mut answer)?;
        ensure!(answer == "handed 1", "{mode}: {answer}");
    }
    Ok(())
}

#[test]
fn cells_do_not_reach_each_other() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    let server = "require('net').createServer().listen(7777, '0.0.0.0', () => console.log('ready')); \
        setTimeout(() => process.exit(0), 20000)";
    for mode in modes()? {
        let mut first = Running::start(&mut range.cell(mode, &[], &["node", "-e", server])?)?;
        first.until("it listens", |it| it.stdout().contains("ready").then_some(()))?;
        let seen = tried(&range, mode, &[], &["127.0.0.1:7777".to_owned()])?;
        ensure!(seen.iter().all(|(_, result)| result == "ECONNREFUSED"), "{mode}: {seen:?}");
    }
    Ok(())
}

/// Native code that races the supervisor: one thread flips the port while another connects.
#[test]
fn an_address_flipped_meanwhile_is_not_reached() -> Result<()> {
    let (range, program) = compiled("flip.c")?;
    let (open, closed) = (range.open_port()?.to_string(), range.closed_port()?.to_string());
    let connect = format!("127.0.0.1:{open}");
    for mode in modes()? {
        let command = [program.as_str(), &open, &closed, "5000"];
        // Connections are taken off the queue meanwhile, or it would fill up.
        let over = std::sync::atomic::AtomicBool::new(false);
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| range.accept_until(&over));
            let ended = range.run(mode, &["--connect", &connect], &command);
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            ended
        });
        let ended = ended?.success()?;
        let (reached, leaked) = ended.stdout.trim().split_once(' ').context("two numbers")?;
        ensure!(leaked == "0" && reached != "0", "{mode}: {ended}");
    }
    Ok(())
}

/// The socket that was put in place is the host's: disconnecting it must not set it free.
#[test]
fn a_disconnected_socket_is_judged_again() -> Result<()> {
    let (range, program) = compiled("again.c")?;
    let (open, closed) = (range.open_port()?.to_string(), range.closed_port()?.to_string());
    let connect = format!("127.0.0.1:{open}");
    let control = finish(range.home.command(&program).args([&open, &closed]), "")?.success()?;
    ensure!(control.stdout.contains("reached"), "the control did not get through: {control}");
    for mode in modes()? {
        let command = [program.as_str(), &open, &closed];
        let ended = range.run(mode, &["--connect", &connect], &command)?.success()?;
        ensure!(
            ended.stdout.contains("connected") && !ended.stdout.contains("reached"),
            "{mode}: {ended}"
        );
    }
    Ok(())
}

fn compiled(name: &str) -> Result<(Range, String)> {
    let range = Range::new()?;
    let program = range.home.scratch("program");
    let mut cc = range.home.command("cc");
    cc.args(["-O1", "-pthread", "-w", "-o"]).arg(&program).arg(super::range::source(name));
    finish(&mut cc, "")?.success()?;
    let program = program.to_str().context("a path")?.to_owned();
    Ok((range, program))
}

/// Each connection is a descriptor of the command's: as many as it may have, and no more on the
/// host. Others reach the same port meanwhile.
#[test]
fn a_flood_of_connections_is_bounded() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    let port = range.open_port()?;
    let over = std::sync::atomic::AtomicBool::new(false);
    let script = format!(
        "const net = require('net'), held = []; let failed = 0, up = 0; const end = () => {{ \
         if (up + failed === 2000) {{ console.log(up, failed > 1400); process.exit(0); }} }}; \
         for (let i = 0; i < 2000; i++) held.push(net.connect({port}, '127.0.0.1', () => \
         {{ up++; end(); }}).on('error', () => {{ failed++; end(); }}))"
    );
    std::thread::scope(|scope| {
        scope.spawn(|| range.accept_until(&over));
        let tried = modes()?.into_iter().try_for_each(|mode| {
            let to = format!("127.0.0.1:{port}");
            let ended =
                range.run(mode, &["--connect", &to], &["node", "-e", &script])?.success()?;
            let up = ended.stdout.split(' ').next().and_then(|up| up.parse::<u32>().ok());
            ensure!(up.is_some_and(|up| (1..=512).contains(&up)), "{mode}: {ended}");
            ensure!(ended.stdout.contains("true"), "{mode}: {ended}");
            TcpStream::connect(("127.0.0.1", port))?;
            Ok(())
        });
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        tried
    })
}
