//! Which paths name files, and where those are on a genuine node: its error texts show that.

const MANAGER: &str = "/usr/share/pve-manager";
const TOOLKIT: &str = "/usr/share/javascript/proxmox-widget-toolkit";

/// Pages that are single files.
const PAGES: [(&str, &str); 3] = [
    ("/favicon.ico", "/usr/share/pve-manager/images/favicon.ico"),
    ("/proxmoxlib.js", "/usr/share/javascript/proxmox-widget-toolkit/proxmoxlib.js"),
    ("/qrcode.min.js", "/usr/share/javascript/qrcodejs/qrcode.min.js"),
];

/// Directories, each named exactly; what lies below them has rows of its own.
#[rustfmt::skip]
const DIRECTORIES: [(&str, &str, &str); 21] = [
    ("/pve2/locale/",                "/usr/share/pve-i18n",                 ""),
    ("/pve2/touch/",                 MANAGER,                               "/touch"),
    ("/pve2/ext6/",                  "/usr/share/javascript/extjs",         ""),
    ("/pve2/ext6/crisp/resources/",  "/usr/share/javascript/extjs",         "/crisp/resources"),
    ("/pve2/ext6/theme-crisp/resources/", "/usr/share/javascript/extjs",    "/theme-crisp/resources"),
    ("/pve2/images/",                MANAGER,                               "/images"),
    ("/pve2/css/",                   MANAGER,                               "/css"),
    ("/pve2/js/",                    MANAGER,                               "/js"),
    ("/pve2/fa/fonts/",              "/usr/share/fonts-font-awesome",       "/fonts"),
    ("/pve2/fa/css/",                "/usr/share/fonts-font-awesome",       "/css"),
    ("/pve2/font-logos/css/",        "/usr/share/fonts-font-logos",         "/css"),
    ("/pve2/font-logos/fonts/",      "/usr/share/fonts-font-logos",         "/fonts"),
    ("/pve-docs/",                   "/usr/share/pve-docs",                 ""),
    ("/pve-docs/api-viewer/",        "/usr/share/pve-docs",                 "/api-viewer"),
    ("/pve-docs/api-viewer/extjs/",  "/usr/share/javascript/extjs",         ""),
    ("/novnc/",                      "/usr/share/novnc-pve",                ""),
    ("/novnc/app/",                  "/usr/share/novnc-pve",                "/app"),
    ("/xtermjs/",                    "/usr/share/pve-xtermjs",              ""),
    ("/pwt/css/",                    TOOLKIT,                               "/css"),
    ("/pwt/images/",                 TOOLKIT,                               "/images"),
    ("/pwt/themes/",                 TOOLKIT,                               "/themes"),
];

/// The file's place on a genuine node, whether it exists there or not; `None` when no such
/// directory is served. Only simple names directly in a listed directory pass.
pub(super) fn locate(path: &str) -> Option<String> {
    if let Some((_, file)) = PAGES.iter().find(|(page, _)| *page == path) {
        return Some((*file).to_owned());
    }
    let name_at = path.rfind('/')? + 1;
    let (directory, name) = path.split_at_checked(name_at)?;
    let simple = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(simple) {
        return None;
    }
    let (_, base, below) = DIRECTORIES.iter().find(|(alias, _, _)| *alias == directory)?;
    Some(format!("{base}{below}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_simple_names_in_listed_directories_are_files() {
        let css = "/usr/share/pve-manager/css/none.css";
        assert_eq!(locate("/pve2/css/none.css").as_deref(), Some(css));
        assert!(locate("/favicon.ico").is_some());
        for refused in [
            "/pve2/css/",
            "/pve2/css",
            "/pve2/css/a b.css",
            "/pve2/css/../../../../etc/passwd",
            "/pve2//css/none.css",
            "/pve2/",
            "/etc/passwd",
            "x",
            "",
        ] {
            assert_eq!(locate(refused), None, "{refused}");
        }
    }

    proptest! {
        #[test]
        fn nothing_outside_is_located(path in "/(pve2|novnc|\\.\\.|css|//){0,4}/\\PC{0,12}") {
            if let Some(file) = locate(&path) {
                prop_assert!(file.starts_with("/usr/share/") && !file.contains("/../"), "{}", file);
            }
        }
    }
}
