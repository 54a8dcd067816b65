//! Clear text on the TLS port: one answer that leads to https, then the end.

use std::time::Duration;

use telemetry::HttpDate;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::edge::is_host;
use crate::http1::wire;
use crate::limits::HEAD_BYTES;

/// Reads one request head and answers as pveproxy: 301 for GET and HEAD, 308 for the rest, to
/// the same address with https. Anything that is no such request is left without an answer.
///
/// pveproxy copies Host into Location whatever it holds. A browser can not be made to send
/// another host than the one it connects to, so only what is no host at all is refused here:
/// it could end the authority early and lead elsewhere.
pub(crate) async fn answer<S>(stream: &mut S, unix: Duration) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = bytes::BytesMut::with_capacity(1024);
    let end = loop {
        let searched = head.len();
        if searched > HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        if let Some(end) = wire::head_end(&head, searched) {
            break end;
        }
    };
    if let Some(redirect) = head.get(..end).and_then(|head| redirect(head, unix)) {
        stream.write_all(redirect.as_bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}

fn redirect(head: &[u8], unix: Duration) -> Option<String> {
    wire::check(head).ok()?;
    let (method, target, host) = wire::method_target_host(head)?;
    if !(target.starts_with('/') && is_host(host)) {
        return None;
    }
    let (status, reason) = match method {
        "GET" | "HEAD" => (301, "Moved Permanently"),
        _ => (308, "Permanent Redirect"),
    };
    let date = HttpDate(unix.as_secs()).to_string();
    Some(format!(
        "HTTP/1.1 {status} {reason}\r\n\
         Cache-Control: max-age=0\r\n\
         Connection: close\r\n\
         Date: {date}\r\n\
         Pragma: no-cache\r\n\
         Location: https://{host}{target}\r\n\
         Server: pve-api-daemon/3.0\r\n\
         Content-Length: {}\r\n\
         Expires: {date}\r\n\
         \r\n\
         {}",
        reason.len(),
        // HEAD never gets a body (RFC 9110 §9.3.2).
        if method == "HEAD" { "" } else { reason },
    ))
}

#[cfg(test)]
mod tests {
    use super::redirect;
    use std::time::Duration;

    fn location(head: &str) -> Option<String> {
        let answer = redirect(head.as_bytes(), Duration::ZERO)?;
        let line = answer.lines().find_map(|line| line.strip_prefix("Location: "));
        line.map(str::to_owned)
    }

    #[test]
    fn as_the_genuine_server() {
        let get = "GET /?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8006\r\n\r\n";
        assert_eq!(location(get).unwrap(), "https://127.0.0.1:8006/?x=1");
        let answer = redirect(get.as_bytes(), Duration::ZERO).unwrap();
        assert!(answer.starts_with("HTTP/1.1 301 Moved Permanently\r\n"));
        assert!(answer.ends_with("\r\n\r\nMoved Permanently"));
        let post = redirect(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", Duration::ZERO).unwrap();
        assert!(post.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"));
    }

    #[test]
    fn nothing_leads_elsewhere() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a@evil\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\\evil\r\n\r\n",
            "GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "NONSENSE\r\n\r\n",
        ] {
            assert_eq!(location(head), None, "{head}");
        }
    }
}
