//! Stand-ins for the files of the interface, made when they are asked for, and the files of the
//! pages that stand in for it.

use telemetry::HttpDate;

use crate::wire::{Head, Payload, Response};

/// When the stand-ins were last changed: 2025-01-01, the same in every run, so that a cache in
/// front behaves as it does in front of a package's files.
const CHANGED: u64 = 1_735_689_600;
const KIB: usize = 1024;

/// A content type, and whether it is worth compressing.
struct Kind {
    extension: &'static str,
    content_type: &'static str,
    compress: bool,
}

#[rustfmt::skip]
const KINDS: [Kind; 9] = [
    Kind { extension: "css",   content_type: "text/css",                compress: true },
    Kind { extension: "html",  content_type: "text/html",               compress: true },
    Kind { extension: "js",    content_type: "application/javascript",  compress: true },
    Kind { extension: "json",  content_type: "application/json",        compress: true },
    Kind { extension: "svg",   content_type: "image/svg+xml",           compress: true },
    Kind { extension: "png",   content_type: "image/png",               compress: false },
    Kind { extension: "ico",   content_type: "image/x-icon",            compress: false },
    Kind { extension: "woff",  content_type: "application/font-woff",   compress: false },
    Kind { extension: "woff2", content_type: "application/font-woff2",  compress: false },
];

/// What a file holds.
#[derive(Clone, Copy)]
enum Content {
    /// Filler of about the size of the genuine file: what a page load transfers stays true to life.
    Filler(usize),
    /// A part of the stand-in pages. It changes with this program, so nothing may keep it.
    Own(&'static str),
}

use Content::{Filler, Own};

/// Files that exist.
#[rustfmt::skip]
const FILES: [(&str, Content); 25] = [
    ("/usr/share/pve-manager/css/ext6-pve.css",                             Filler(15 * KIB)),
    ("/usr/share/pve-manager/images/favicon.ico",                            Filler(2 * KIB)),
    ("/usr/share/pve-manager/images/logo-128.png",                           Filler(4 * KIB)),
    ("/usr/share/pve-manager/images/proxmox_logo.png",                       Filler(3 * KIB)),
    ("/usr/share/pve-manager/js/pvemanagerlib.js",                        Filler(2000 * KIB)),
    ("/usr/share/javascript/extjs/ext-all.js",                            Filler(2200 * KIB)),
    ("/usr/share/javascript/extjs/charts.js",                              Filler(500 * KIB)),
    ("/usr/share/javascript/proxmox-widget-toolkit/proxmoxlib.js",         Filler(480 * KIB)),
    ("/usr/share/javascript/proxmox-widget-toolkit/css/ext6-pmx.css",        Filler(9 * KIB)),
    ("/usr/share/javascript/proxmox-widget-toolkit/themes/theme-proxmox-dark.css", Filler(50 * KIB)),
    ("/usr/share/javascript/qrcodejs/qrcode.min.js",                        Filler(19 * KIB)),
    ("/usr/share/javascript/extjs/theme-crisp/resources/theme-crisp-all.css",  Filler(1200 * KIB)),
    ("/usr/share/fonts-font-awesome/css/font-awesome.css",                  Filler(37 * KIB)),
    ("/usr/share/pve-docs/api-viewer/apidoc.js",                          Filler(2500 * KIB)),
    ("/usr/share/pve-docs/index.html",                                       Filler(8 * KIB)),
    ("/usr/share/pve-manager/css/stand-in.css",        Own(include_str!("interface/style.css"))),
    ("/usr/share/pve-manager/js/stand-in-session.js",  Own(include_str!("interface/session.js"))),
    ("/usr/share/pve-manager/js/stand-in-login.js",    Own(include_str!("interface/login.js"))),
    ("/usr/share/pve-manager/js/stand-in-view.js",     Own(include_str!("interface/view.js"))),
    ("/usr/share/pve-manager/js/stand-in-desktop.js",  Own(include_str!("interface/desktop.js"))),
    ("/usr/share/pve-manager/js/stand-in-mobile.js",   Own(include_str!("interface/mobile.js"))),
    ("/usr/share/pve-manager/js/stand-in-console.js",  Own(include_str!("interface/console.js"))),
    ("/usr/share/pve-i18n/pve-lang-en.js",             Own(include_str!("interface/en.js"))),
    ("/usr/share/pve-i18n/pve-lang-de.js",             Own(include_str!("interface/de.js"))),
    ("/usr/share/pve-i18n/pve-lang-fr.js",             Own(include_str!("interface/fr.js"))),
];

/// One line of filler; a comment in scripts and style sheets.
const NOTE: &str = "/* Stand-in: the genuine file is part of Proxmox VE and is not shipped. */\n";

/// Sends the file at this place of a genuine node, or what the server says when it has none.
/// `Range` is ignored, as there.
pub(super) fn send(head: &Head, file: &str) -> Response {
    let Some((_, content)) = FILES.iter().find(|(known, _)| *known == file) else {
        let text = format!("unable to open file '{file}' - No such file or directory\n");
        return Response::error(500, &text);
    };
    let extension = file.rsplit('.').next().unwrap_or_default();
    let Some(kind) = KINDS.iter().find(|kind| kind.extension == extension) else {
        return Response::error(500, "unable to detect content type");
    };
    let size = match content {
        Filler(size) => *size,
        Own(text) => {
            let body = text.as_bytes().to_vec();
            return Response::with(200, "OK", Payload { content_type: kind.content_type, body });
        }
    };
    let since = head.header("If-Modified-Since").and_then(|text| text.parse().ok());
    let since = since.map(|HttpDate(unix)| unix);
    let last_modified = Some(CHANGED);
    if since.is_some_and(|since| CHANGED <= since) {
        return Response { last_modified, ..Response::bare(304, "NOT MODIFIED") };
    }
    let body: Vec<u8> = match kind.content_type {
        "text/css" | "application/javascript" => comments(size),
        _ => vec![b'\n'; size],
    };
    let payload = Payload { content_type: kind.content_type, body };
    let response = Response::with(200, "OK", payload);
    Response { last_modified, incompressible: !kind.compress, ..response }
}

/// Whole comments, and blank lines for the rest: half a comment is a fault in the script.
fn comments(size: usize) -> Vec<u8> {
    let mut text = NOTE.repeat(size / NOTE.len()).into_bytes();
    text.resize(size, b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)], file: &str) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let head =
            Head { method: "GET".into(), target: "/".into(), minor: 1, headers: headers.collect() };
        send(&head, file)
    }

    #[test]
    fn a_condition_counts_when_it_is_a_date_that_is_not_older() {
        let css = "/usr/share/pve-manager/css/ext6-pve.css";
        let status = |date| asked(&[("If-Modified-Since", date)], css).status;
        assert_eq!(status("Wed, 01 Jan 2025 00:00:00 GMT"), 304);
        assert_eq!(status("Tue, 31 Dec 2024 23:59:59 GMT"), 200);
        assert_eq!(status("yesterday"), 200);
        assert_eq!(asked(&[("Range", "bytes=0-9")], css).body.len(), 15 * KIB);
    }

    #[test]
    fn a_missing_file_names_its_place() {
        let missing = asked(&[], "/usr/share/pve-manager/css/none.css");
        assert_eq!(missing.status, 500);
        assert!(missing.body.ends_with(b"none.css' - No such file or directory\n"));
    }

    #[test]
    fn every_file_has_a_type_and_ends_its_comments() {
        for (file, _) in FILES {
            let answer = asked(&[], file);
            assert_eq!(answer.status, 200, "{file}");
            let text = String::from_utf8_lossy(&answer.body);
            assert_eq!(text.matches("/*").count(), text.matches("*/").count(), "{file}");
        }
    }

    #[test]
    fn parts_of_the_pages_are_never_kept() {
        let script = asked(&[], "/usr/share/pve-manager/js/stand-in-session.js");
        assert_eq!(script.last_modified, None);
        assert!(script.body.ends_with(b"RENEW_SECONDS * 1000);\n"));
    }
}
