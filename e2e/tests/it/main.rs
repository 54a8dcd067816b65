//! The built program, driven by the clients people have: each test starts its own and ends it.
#![expect(clippy::indexing_slicing, reason = "tests: a missing member of JSON is Null")]

mod access_command;
mod api_command;
mod broker;
mod browser;
mod canary;
mod cells;
mod channels;
mod confined;
mod curl;
mod demo;
mod ends_clean;
mod failures;
mod front;
mod golden;
mod home;
mod installed;
mod login;
mod mock_state;
mod newcomer;
mod processes;
mod program;
mod python;
mod reload;
mod remounted;
mod robust;
mod service;
mod sessions;
mod several_gates;
mod stock_clients;
mod takeover;
mod tickets;
