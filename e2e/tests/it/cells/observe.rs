//! One run that is watched, and the next under the policy that came of it.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};

use super::range::{Range, has_node, modes};
use crate::program::finish;

/// Answers each connection with one small page.
fn serve(listener: &TcpListener) {
    while let Ok((mut stream, _)) = listener.accept() {
        let mut asked = [0; 1024];
        let Ok(count) = stream.read(&mut asked) else { continue };
        if count == 0 {
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    }
}

#[test]
fn what_was_observed_suffices_and_is_no_more() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    let answering = std::thread::spawn(move || serve(&listener));
    let outside = range.outside.display().to_string();
    // What only its owner may see can not be granted to a cell with a user of its own.
    for folder in range.outside.ancestors().take(2) {
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    let script = format!(
        "(async () => {{ const text = await (await fetch('http://127.0.0.1:{}/')).text(); \
         const names = fs.readdirSync('{outside}').includes('file'); \
         console.log(text, names, fs.readFileSync('{outside}/file', 'utf8').trim()); \
         try {{ require('child_process').spawn('/usr/bin/id').on('error', () => {{}}); }} \
         catch {{}} }})() \
         .catch((error) => {{ console.log(error.message); process.exit(3); }})",
        at.port()
    );
    fs::write(range.dir.join("main.js"), format!("const fs = require('fs'); {script}"))?;
    let policy = range.home.scratch("observed.toml");
    let path = policy.display().to_string();
    for mode in modes()? {
        let command = ["node", "main.js"];
        let without = range.run(mode, &[], &command)?;
        ensure!(without.code == Some(3), "{mode}: it works without: {without}");

        let observed = range.run(mode, &["--observe", &path], &command)?.success()?;
        ensure!(observed.stdout == "hello true secret\n", "{mode}: {observed}");
        ensure!(observed.stderr.contains("WARNING"), "{mode}: {observed}");
        let written = fs::read_to_string(&policy)?;
        ensure!(fs::metadata(&policy)?.permissions().mode() & 0o077 == 0, "{mode}: {written}");
        let connect = format!("connect = [\"{at}\"]");
        let read = format!("read = [\"{outside}\"]");
        ensure!(written.contains(&connect) && written.contains(&read), "{mode}: {written}");
        ensure!(written.contains("/usr/bin/id"), "{mode}: {written}");

        let words = ["cell", "run", "--mode", mode, "--policy", &path, "--"];
        let mut again = range.home.proxward(&[&words[..], &command].concat())?;
        let again = finish(&mut again, "")?.success()?;
        ensure!(again.stdout == "hello true secret\n", "{mode}: {again}");
    }
    drop(std::net::TcpStream::connect(at)?);
    answering.join().ok();
    Ok(())
}
