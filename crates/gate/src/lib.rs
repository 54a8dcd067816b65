//! A hardened front server for the API and the web interface of Proxmox VE.
//!
//! The gate takes TLS connections from browsers and API clients and passes their requests to
//! stock pveproxy, unchanged where Proxmox VE and its clients depend on the letter (paths,
//! status lines, reason phrases, bodies) and rebuilt where only an attacker does (framing,
//! hop-by-hop and internal headers, addresses a client may claim).
//!
//! It never decides what a user may do: Proxmox VE stays the authority, the gate only takes
//! away. Everything that waits, grows or repeats has a bound in [`limits`]. What the gate
//! answers by itself is one table in `refusal`; what it lets through, one table in `hygiene`;
//! the order of it all is read top to bottom in `connection` and then `stack`. HTTP/1 is the
//! gate's own (`http1`), HTTP/2 hyper's.
//!
//! One thread per core, each with its own runtime, connections and way upstream: no request
//! crosses threads and no task outlives the connection it belongs to.

mod addresses;
mod admission;
mod api;
mod audit;
mod body;
mod breaker;
mod caller;
mod certificates;
mod compression;
mod config;
mod confine;
mod connection;
mod console;
pub mod control;
mod credential;
mod defaults;
mod destination;
mod edge;
mod endpoint;
mod forwarded;
mod frames;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod http1;
mod http2;
mod hygiene;
mod idle;
mod index;
mod install;
mod lifecycle;
pub mod limits;
mod link;
mod listeners;
mod live;
mod login;
mod metrics;
mod observe;
mod origin;
mod own;
mod pages;
mod permissions;
mod plain;
mod plugins;
mod policy;
mod prefixed;
mod proxy_protocol;
mod pulse;
mod reason;
mod record;
mod refusal;
mod relay;
mod reload;
mod rewrite;
mod route;
mod running;
mod scratch;
mod session;
mod shared_store;
mod sharing;
mod socket;
mod source;
mod stack;
mod takeover;
mod tasks;
mod tickets;
mod tunnels;
mod upstream;
mod watch;
mod worker;

pub use addresses::{AddressPolicy, AddressRules};
pub use api::{ApiConfig, ApiRow, ApiSettings, api_rows};
pub use certificates::{ClientFiles, TlsFiles, TlsFilesError, TlsLoaded, certificate_shown};
pub use config::{
    AccessLogTo, CertificateFrom, ClientAuthMode, Config, ConfigError, ConfigWarning,
    FallbackSettings, LimitSettings, Settings, TlsSettings, TlsVersion, Traffic,
};
pub use confine::{
    ConfineError, FALLBACK_ID, GROUP, Layer, Row, Standing, USER, call_rows, confine,
};
pub use defaults::{DefaultNote, DefaultValue, FromDefaults};
pub use destination::{Destination, DestinationError, probe};
pub use install::{InstallError, Outcome, Place, install, plan, remove};
pub use limits::Limits;
pub use listeners::{Listeners, Open};
pub use login::{LoginRules, LoginSettings};
pub use observe::{MetricsAddress, MetricsAddressError};
pub use pages::ContentPolicy;
pub use plugins::{Plugin, PluginSettings};
pub use policy::{
    PolicyEffect, PolicyError, PolicyQuestion, PolicyRules, PolicySettings, PolicyVerdict,
    Proposed, RuleSettings, SchemaMode,
};
pub use pulse::Heartbeat;
pub use reload::{InForce, RELOAD, ReloadError, Reloaded, in_force, reload_table};
pub use running::{Running, StartError, Stopped, prepare, start};
pub use session::{
    ConsolePolicy, KeyError, Policy, SessionConfig, SessionSettings, TicketVerification,
};
pub use shared_store::{CheckError, StoreSettings};
pub use takeover::{Takeover, TakeoverError};
