//! What a worker does with a request.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use broker_api::{Code, Refusal};
use serde_json::{Map, Value, json};

use super::sensors::{DeadlineFiles, model, read_chips, read_energy, read_zones, sensors_j};
use super::{cells, commands, devices, files, guests, nft, node, ssh};
use crate::config::Settings;
use crate::limits::SENSOR_FILE;
use crate::remote::read_members;
use crate::worker::{Done, WorkerKind};

/// The work of one kind.
pub(crate) enum Handler {
    Reader(Reader),
    Devices(devices::Devices),
    Nft(nft::Nft),
    Files(files::Files),
    Commands(commands::Commands),
    Cells(cells::Cells),
    Ssh(ssh::Ssh),
}

/// Reads `/sys`, `/proc` and the cluster's files.
pub(crate) struct Reader {
    root: PathBuf,
    files: Mutex<DeadlineFiles>,
}

impl Handler {
    /// Opens what has to be open before the worker is confined.
    pub(crate) fn start(kind: WorkerKind, settings: &Settings) -> Result<Self, String> {
        Ok(match kind {
            WorkerKind::Reader => Self::Reader(Reader::new("/".into())),
            WorkerKind::Devices => Self::Devices(devices::Devices::new("/".into())),
            WorkerKind::Nft => Self::Nft(nft::Nft::open()?),
            WorkerKind::Files => Self::Files(files::Files::new(settings)?),
            WorkerKind::Commands => Self::Commands(commands::Commands::new(settings)),
            WorkerKind::Cells => Self::Cells(cells::Cells::new(settings)?),
            WorkerKind::Ssh => Self::Ssh(ssh::Ssh::new(settings)),
        })
    }

    /// When there is something to do without a request.
    pub(crate) fn wakes(&self) -> Option<std::time::Duration> {
        match self {
            Self::Files(files) => files.wakes(),
            Self::Cells(cells) => cells.wakes(),
            _ => None,
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&self) {
        match self {
            Self::Files(files) => files.tick(),
            Self::Cells(cells) => cells.tick(),
            _ => {}
        }
    }

    /// Does one thing.
    pub(crate) fn handle(&self, verb: &str, params: &Map<String, Value>) -> Result<Done, Refusal> {
        let value = match self {
            Self::Files(files) if verb == "files.notify" => return files.notify(params),
            Self::Reader(reader) => reader.handle(verb, params),
            Self::Devices(devices) => devices.handle(verb),
            Self::Nft(nft) => nft.handle(verb, params),
            Self::Files(files) => files.handle(verb, params),
            Self::Commands(commands) => commands.handle(verb, params),
            Self::Cells(cells) => cells.handle(verb, params),
            Self::Ssh(ssh) => ssh.handle(verb, params),
        };
        value.map(Done::from)
    }
}

/// A verb that came to a worker of another kind: a mistake of the table of routes.
pub(super) fn not_mine() -> Refusal {
    Refusal::new(Code::Internal, "the worker does not know this verb")
}

impl Reader {
    fn new(root: PathBuf) -> Self {
        Self { root, files: Mutex::new(DeadlineFiles::new(SENSOR_FILE)) }
    }

    fn handle(&self, verb: &str, params: &Map<String, Value>) -> Result<Value, Refusal> {
        match verb {
            "sensors.read" => Ok(self.sensors(params)),
            "sensors.waking" => {
                // Chips whose reading could wake a disk: all of one driver.
                let drivers = std::fs::read_dir(self.root.join("sys/class/hwmon"));
                let waking = drivers.into_iter().flatten().flatten().any(|entry| {
                    std::fs::read_to_string(entry.path().join("name"))
                        .is_ok_and(|name| name.trim() == "drivetemp")
                });
                Ok(json!({"waking": waking}))
            }
            "node.status" => node::status(&self.root),
            "guests.cpu" => Ok(guests::read(&self.root)),
            "cluster.members" => {
                let own = node::own_name(&self.root);
                let cluster = read_members(&self.root, &own);
                let failed =
                    |why| Refusal::new(Code::Unavailable, why).because("cluster_query_failed");
                Ok(json!(cluster.map_err(failed)?))
            }
            _ => Err(not_mine()),
        }
    }

    fn sensors(&self, params: &Map<String, Value>) -> Value {
        let awake: Vec<String> = params
            .get("awake")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let chips = read_chips(&self.root, &mut files, &awake);
        if params.get("format").and_then(Value::as_str) == Some("lm-sensors") {
            return json!({"sensors": sensors_j(&chips)});
        }
        let zones = read_zones(&self.root, &mut files);
        let mut model = model(&chips, &zones);
        let energy = read_energy(&self.root, &mut files).into_iter().map(|counter| {
            json!({
                "key": counter.key, "name": counter.name, "energy_uj": counter.microjoules,
                "max_energy_uj": counter.range,
            })
        });
        if let Some(members) = model.as_object_mut() {
            members.insert("energy".to_owned(), energy.collect());
        }
        model
    }
}
