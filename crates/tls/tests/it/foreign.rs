//! Other TLS libraries must accept what is issued here, and their keys must be readable here.

use std::path::Path;
use std::process::{Command, Output};

use tls::{Alpn, Identity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::{PATIENCE, Pki};

/// `None` with a note when the program is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: {program}: {error}");
            None
        }
    }
}

fn assert_done(what: &str, output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{what}: {}{}", text(&output.stdout), text(&output.stderr));
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

#[test]
fn openssl_verifies_strictly_and_agrees_on_the_fingerprint() {
    let pki = Pki::new();
    let dir = tempfile::tempdir().unwrap();
    let (ca, leaf) = (path(dir.path(), "ca.pem"), path(dir.path(), "leaf.pem"));
    std::fs::write(&ca, pki.authority.certificate_pem()).unwrap();
    std::fs::write(&leaf, pki.identity.certificate_pem()).unwrap();
    for name in [["-verify_hostname", "pve1"], ["-verify_ip", "::1"]] {
        let [option, value] = name;
        let strict = ["verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslserver"];
        let arguments = [&strict[..], &["-CAfile", &ca, option, value, &leaf]].concat();
        let Some(output) = run("openssl", &arguments) else {
            return;
        };
        assert_done("openssl verify", &output);
    }
    let shown =
        run("openssl", &["x509", "-noout", "-fingerprint", "-sha256", "-in", &leaf]).unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.trim().split_once('=').unwrap().1, pki.identity.fingerprint().to_string());
}

#[test]
fn keys_made_by_openssl_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (key, certificate) = (path(dir.path(), "key.pem"), path(dir.path(), "cert.pem"));
    let kinds: [&[&str]; 3] = [
        &["-newkey", "rsa:2048"],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"],
        &["-newkey", "ed25519"],
    ];
    for kind in kinds {
        let fixed = ["req", "-x509", "-nodes", "-subj", "/CN=pve1", "-keyout", &key, "-out"];
        let arguments = [&fixed[..], &[&certificate], kind].concat();
        let Some(output) = run("openssl", &arguments) else {
            return;
        };
        assert_done("openssl req", &output);
        Identity::load(Path::new(&certificate), Path::new(&key)).unwrap();
    }
}

/// A client program run against a server that answers every connection alike.
async fn serve_while(pki: &Pki, client: impl FnOnce(u16) -> Option<Output> + Send + 'static) {
    let acceptor = pki.acceptor(Alpn::Http1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    };
    let output = tokio::select! {
        output = tokio::task::spawn_blocking(move || client(port)) => output.unwrap(),
        () = server => None,
    };
    if let Some(output) = output {
        assert_done("client", &output);
    }
}

#[tokio::test]
async fn python_in_strict_mode_and_curl_connect() {
    let pki = Pki::new();
    let dir = tempfile::tempdir().unwrap();
    let ca = path(dir.path(), "ca.pem");
    std::fs::write(&ca, pki.authority.certificate_pem()).unwrap();

    for version in ["TLSv1_2", "TLSv1_3"] {
        let script = format!(
            "import socket, ssl, sys\n\
             c = ssl.create_default_context(cafile=sys.argv[1])\n\
             c.verify_flags |= ssl.VERIFY_X509_STRICT\n\
             c.minimum_version = c.maximum_version = ssl.TLSVersion.{version}\n\
             s = c.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[2]))), \
             server_hostname='localhost')\n\
             s.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')\n\
             assert b'ok' in s.recv(4096) + s.recv(4096)\n"
        );
        let ca = ca.clone();
        let client =
            serve_while(&pki, move |port| run("python3", &["-c", &script, &ca, &port.to_string()]));
        timeout(PATIENCE, client).await.unwrap();
    }
    let client = serve_while(&pki, move |port| {
        let url = format!("https://127.0.0.1:{port}/");
        run("curl", &["--silent", "--fail", "--noproxy", "*", "--cacert", &ca, &url])
    });
    timeout(PATIENCE, client).await.unwrap();
}
