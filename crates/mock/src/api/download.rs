//! Files that a node fetches itself: `download-url`, and templates of containers. Nothing is
//! fetched; the size of a file follows from its address, so that it is the same in every run.

use std::time::Duration;

use pve_schema::Verb;
use serde_json::{Value, json};

use super::content::{self, Place};
use super::{Call, Row};
use crate::failure::{Failure, Outcome};
use crate::state::{TaskKind, Volume, sha1_hex};

pub(super) const ROWS: &[Row] = &[
    (Verb::Post, "/nodes/{node}/storage/{storage}/download-url", download),
    (Verb::Get, "/nodes/{node}/query-url-metadata", metadata),
    (Verb::Get, "/nodes/{node}/aplinfo", templates),
    (Verb::Post, "/nodes/{node}/aplinfo", fetch_template),
];

const DOWNLOAD: TaskKind = TaskKind { name: "download", takes: Duration::from_secs(5) };
const MIB: u64 = 1 << 20;

/// Templates on offer: package, system, version, what it is.
const TEMPLATES: [(&str, &str, &str, &str); 4] = [
    ("alpine-3.22-default", "alpine", "20250617", "LXC default image for alpine 3.22"),
    ("debian-12-standard", "debian-12", "12.12-1", "Debian 12 Bookworm (standard)"),
    ("debian-13-standard", "debian-13", "13.1-2", "Debian 13 Trixie (standard)"),
    ("ubuntu-24.04-standard", "ubuntu-24.04", "24.04-2", "Ubuntu 24.04 Noble (standard)"),
];

fn template((package, _, version, _): &(&str, &str, &str, &str)) -> String {
    format!("{package}_{version}_amd64.tar.zst")
}

/// Between 64 MiB and 1 GiB.
fn size_of(url: &str) -> u64 {
    let hash = sha1_hex(url.as_bytes());
    let number = hash.get(..4).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    (64 + number.unwrap_or(0) % 960) * MIB
}

fn download(call: &mut Call<'_>) -> Outcome {
    let (content, url) = (call.required("content"), call.required("url"));
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(Failure::parameter("url", "wrong url: only http and https are supported"));
    }
    let (place, file) = content::new_file(call, &content)?;
    fetch(call, &place, &content, &file, &url)
}

/// The task that leaves the file. One that is there already is not written over; with a checksum
/// it is taken for the right one.
fn fetch(call: &mut Call<'_>, place: &Place, content: &str, file: &str, url: &str) -> Outcome {
    let name = format!("{content}/{file}");
    let path = place.path(&name);
    let key = (place.storage.clone(), place.owner.clone(), name.clone());
    let exists = call.state.volumes.at(&key).is_some();
    let mut lines = vec![format!("downloading {url} to {path}")];
    let exit = match (exists, call.text("checksum")) {
        (true, Some(_)) => {
            lines.push("file already exists and matches the checksum".to_owned());
            Ok(())
        }
        (true, None) => Err(format!("refusing to override existing file '{path}'")),
        (false, _) => Ok(()),
    };
    if !exists {
        let ends = call.now() + DOWNLOAD.takes.mul_f64(call.shared.time_scale());
        let volume = Volume::new(place.kind(&name)?, size_of(url), ends);
        content::keep(call, place, name, volume)?;
        lines.push(format!("download of '{url}' to '{path}' finished"));
    }
    Ok(json!(content::spawn(call, place, DOWNLOAD, file, exit, lines)).into())
}

fn metadata(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    let url = call.required("url");
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default();
    Ok(json!({
        "filename": file, "mimetype": "application/octet-stream", "size": size_of(&url),
    })
    .into())
}

fn templates(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    let row = |one: &(&'static str, &'static str, &'static str, &'static str)| {
        let (package, system, version, headline) = *one;
        json!({
            "package": package, "template": template(one), "os": system, "version": version,
            "headline": headline, "description": headline, "type": "lxc", "section": "system",
            "architecture": "amd64", "source": "http://download.proxmox.com/images",
            "location": format!("system/{}", template(one)),
            "infopage": "https://pve.proxmox.com/wiki/Linux_Container",
        })
    };
    Ok(TEMPLATES.iter().map(row).collect::<Value>().into())
}

fn fetch_template(call: &mut Call<'_>) -> Outcome {
    let wanted = call.required("template");
    if !TEMPLATES.iter().any(|one| template(one) == wanted) {
        return Err(Failure::parameter("template", "no such template"));
    }
    let place = content::place_for(call, "vztmpl")?;
    let url = format!("http://download.proxmox.com/images/system/{wanted}");
    fetch(call, &place, "vztmpl", &wanted, &url)
}
