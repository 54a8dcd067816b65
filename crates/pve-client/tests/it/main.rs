//! The client against a server that answers as PVE does, byte by byte.
#![expect(clippy::unwrap_used, reason = "tests")]

mod calls;
mod connections;
mod golden;
mod login;
mod server;
mod tasks;

use pve_client::{Client, Credentials};
use secrets::SecretString;

use server::Server;

fn secret(text: &str) -> SecretString {
    SecretString::new(text.to_owned())
}

fn anonymous(server: &Server) -> Client {
    Client::new(server.endpoint(), None, Credentials::None).unwrap()
}
