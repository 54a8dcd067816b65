//! Trust, refusals, resumption and replacement between our own two sides.

use tls::{
    Acceptor, Alpn, Authority, ClientStream, Connector, Distrust, Fingerprint, HandshakeError,
    Identity, ServerStream, Trust,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use crate::{PATIENCE, Pki, now};

type Client = Result<ClientStream<DuplexStream>, HandshakeError>;
type Server = Result<ServerStream<DuplexStream>, HandshakeError>;

async fn shake(connector: &Connector, host: &str, acceptor: &Acceptor) -> (Client, Server) {
    let (near, far) = duplex(64 * 1024);
    let both = async { tokio::join!(connector.connect(host, near), acceptor.accept(far)) };
    timeout(PATIENCE, both).await.unwrap()
}

fn connector(authority: &Authority) -> Connector {
    Connector::new(&Trust::Authority(authority.certificate_pem().into())).unwrap()
}

fn distrust(client: Client) -> (Distrust, Fingerprint) {
    match client.unwrap_err() {
        HandshakeError::Untrusted { reason, seen, .. } => (reason, seen),
        other => panic!("expected Untrusted, got {other:?}"),
    }
}

#[tokio::test]
async fn the_authority_is_trusted_for_each_name_with_the_hybrid_key_exchange() {
    let pki = Pki::new();
    let (connector, acceptor) = (connector(&pki.authority), pki.acceptor(Alpn::Http2AndHttp1));
    for host in ["pve1", "PVE1", "127.0.0.1", "::1", "a.example.org"] {
        let (client, server) = shake(&connector, host, &acceptor).await;
        let (client, server) = (client.unwrap(), server.unwrap());
        for session in [client.session(), server.session()] {
            assert_eq!((session.version, session.key_exchange), ("TLSv1_3", "X25519MLKEM768"));
        }
        assert_eq!(client.peer_fingerprint(), Some(pki.identity.fingerprint()));
        assert_eq!(server.peer_fingerprint(), None);
        // The connector speaks HTTP/1.1 only, whatever the server could do.
        assert!(!server.negotiated_h2());
    }
}

#[tokio::test]
async fn bytes_pass_and_the_second_connection_resumes() {
    let pki = Pki::new();
    let (connector, acceptor) = (connector(&pki.authority), pki.acceptor(Alpn::Http1));
    for resumed in [false, true] {
        let (client, server) = shake(&connector, "pve1", &acceptor).await;
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!((client.session().resumed, server.session().resumed), (resumed, resumed));

        server.write_all(b"ticket and bytes").await.unwrap();
        server.shutdown().await.unwrap();
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"ticket and bytes");
    }
}

#[tokio::test]
async fn a_cut_connection_does_not_read_as_a_clean_end() {
    let pki = Pki::new();
    let (client, server) =
        shake(&connector(&pki.authority), "pve1", &pki.acceptor(Alpn::Http1)).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    server.write_all(b"half").await.unwrap();
    server.flush().await.unwrap();
    drop(server);
    let error = client.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn another_authority_is_refused_with_remedy_and_fingerprint() {
    let pki = Pki::new();
    let other_name = Authority::generate("Other", now()).unwrap();
    for other in [Pki::new().authority, other_name] {
        let (client, server) = shake(&connector(&other), "pve1", &pki.acceptor(Alpn::Http1)).await;
        let error = client.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("pve1: "), "{text}");
        assert!(text.contains("--ca FILE"), "{text}");
        assert!(text.contains(&pki.identity.fingerprint().to_string()), "{text}");
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(distrust(Err(error)), (Distrust::UnknownIssuer, pki.identity.fingerprint()));
        assert!(matches!(server.unwrap_err(), HandshakeError::Refused(_)));
    }
}

#[tokio::test]
async fn a_name_not_certified_is_refused_with_those_that_are() {
    let pki = Pki::new();
    let (connector, acceptor) = (connector(&pki.authority), pki.acceptor(Alpn::Http1));
    for host in ["pve2", "127.0.0.2", "a.b.example.org"] {
        let (client, _) = shake(&connector, host, &acceptor).await;
        match distrust(client).0 {
            Distrust::WrongName { valid_for } => {
                assert!(valid_for.contains(&"pve1".to_owned()), "{valid_for:?}");
            }
            other => panic!("{host}: {other:?}"),
        }
    }
    let (client, _) = shake(&connector, "no host", &acceptor).await;
    assert!(matches!(client.unwrap_err(), HandshakeError::Host(_)));
}

#[tokio::test]
async fn validity_is_checked_by_authority_and_not_by_pin() {
    let year = std::time::Duration::from_secs(365 * 24 * 3600);
    let authority = Authority::generate("Test", now() - 3 * year).unwrap();
    for (time, expected) in
        [(now() - 3 * year, Distrust::Expired), (now() + year, Distrust::NotYetValid)]
    {
        let identity = authority.issue(&["pve1"], time).unwrap();
        let acceptor = Acceptor::new(&identity, Alpn::Http1).unwrap();
        let (client, _) = shake(&connector(&authority), "pve1", &acceptor).await;
        assert_eq!(distrust(client).0, expected);

        let pinned = Connector::new(&Trust::Pin(identity.fingerprint())).unwrap();
        let (client, _) = shake(&pinned, "pve1", &acceptor).await;
        client.unwrap();
    }
}

#[tokio::test]
async fn a_pin_admits_that_certificate_for_any_name_and_no_other() {
    let (pki, other) = (Pki::new(), Pki::new());
    let pinned = Connector::new(&Trust::Pin(pki.identity.fingerprint())).unwrap();
    let (client, _) = shake(&pinned, "192.0.2.7", &pki.acceptor(Alpn::Http1)).await;
    client.unwrap();

    let (client, _) = shake(&pinned, "pve1", &other.acceptor(Alpn::Http1)).await;
    let expected = pki.identity.fingerprint();
    assert_eq!(distrust(client), (Distrust::WrongPin { expected }, other.identity.fingerprint()));
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_by_all_clones_and_old_sessions_are_not_trusted_more() {
    let (pki, next) = (Pki::new(), Pki::new());
    let acceptor = pki.acceptor(Alpn::Http1);
    let clone = acceptor.clone();
    acceptor.replace(&next.identity);
    let (client, _) = shake(&connector(&next.authority), "pve1", &clone).await;
    assert_eq!(client.unwrap().peer_fingerprint(), Some(next.identity.fingerprint()));
    let (client, _) = shake(&connector(&pki.authority), "pve1", &clone).await;
    assert_eq!(distrust(client).0, Distrust::UnknownIssuer);
}

#[tokio::test]
async fn plain_text_is_told_apart_on_both_sides() {
    let pki = Pki::new();
    let (mut near, far) = duplex(1024);
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let refused = timeout(PATIENCE, pki.acceptor(Alpn::Http1).accept(far)).await.unwrap();
    assert!(matches!(refused.unwrap_err(), HandshakeError::NotTls));

    let (mut far, near) = duplex(16 * 1024);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let connector = connector(&pki.authority);
    let refused = timeout(PATIENCE, connector.connect("pve1", near)).await.unwrap();
    assert!(matches!(refused.unwrap_err(), HandshakeError::NotTls));
}

#[tokio::test]
async fn a_peer_that_leaves_is_told_as_such() {
    let pki = Pki::new();
    let (near, far) = duplex(1024);
    drop(near);
    let refused = pki.acceptor(Alpn::Http1).accept(far).await;
    assert!(matches!(refused.unwrap_err(), HandshakeError::Closed));
    let (near, far) = duplex(16 * 1024);
    drop(far);
    let refused = connector(&pki.authority).connect("pve1", near).await;
    assert!(matches!(refused.unwrap_err(), HandshakeError::Closed));
}

#[tokio::test]
async fn a_bundle_of_several_authorities_is_trusted_each() {
    let (one, two, three) = (Pki::new(), Pki::new(), Pki::new());
    let bundle = format!(
        "# one\n{}\n# two\n{}",
        one.authority.certificate_pem(),
        two.authority.certificate_pem()
    );
    let connector = Connector::new(&Trust::Authority(bundle.into_bytes())).unwrap();
    for (pki, trusted) in [(&one, true), (&two, true), (&three, false)] {
        let (client, _) = shake(&connector, "pve1", &pki.acceptor(Alpn::Http1)).await;
        assert_eq!(client.is_ok(), trusted);
    }
    for nothing in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Connector::new(&Trust::Authority(nothing.into())).is_err(), "{nothing:?}");
    }
}

#[test]
fn files_hold_the_identity_and_the_key_is_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("a.pem"), dir.path().join("a.key"));
    let identity = Pki::new().identity;
    identity.write(&certificate, &key).unwrap();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let read = Identity::load(&certificate, &key).unwrap();
    assert_eq!(read.fingerprint(), identity.fingerprint());

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    Identity::load(&certificate, &key).unwrap_err();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::remove_file(&certificate).unwrap();
    let error = Identity::load(&certificate, &key).unwrap_err().to_string();
    assert!(error.contains("a.pem"), "{error}");
}
