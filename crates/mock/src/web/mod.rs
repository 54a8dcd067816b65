//! What stands beside the API: the index page and the files it loads.
//!
//! The genuine interface is not ours to ship, so files are stand-ins under the genuine names, with
//! the genuine server's headers, errors and conditions (`PVE::Service::pveproxy`,
//! `PVE::APIServer::AnyEvent::handle_request`). The pages in `interface/` are our own and make the
//! requests that the genuine ones make: what stands between a browser and Proxmox VE can be tried
//! with them.

mod directories;
mod files;
mod page;

use crate::shared::Shared;
use crate::wire::{Head, Response};

/// Answers a path outside the API: a page, a file of a known directory, or the refusal.
pub(crate) async fn answer(shared: &Shared, head: &Head, path: &str) -> Response {
    if head.method == "GET" {
        if path == "/" {
            return page::index(shared, head).await;
        }
        if let Some(file) = directories::locate(path) {
            return files::send(head, &file);
        }
    }
    Response::error(500, &format!("no such file '{path}'\n"))
}
