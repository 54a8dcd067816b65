//! Disks and the baseboard controller, asked by ioctl: health without smartctl or ipmitool.
//!
//! A disk that sleeps is left asleep: the kernel is asked first whether the device is suspended
//! (opening it would wake it), then the disk itself for its power mode (ATA CHECK POWER MODE,
//! which it answers asleep), and only then for its health.

pub(super) mod parse;
mod sdr;

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_api::{Code, Refusal};
use serde_json::{Map, Value, json};

use crate::device_ioctl::{DeviceIoctl, Kernel};
use crate::limits::DISKS;
use parse::Power;

/// How long the baseboard controller may take: they are slow.
const IPMI_WAIT: Duration = Duration::from_secs(5);

/// Block devices that are no disks.
const NO_DISKS: [&str; 11] =
    ["loop", "ram", "dm-", "zd", "md", "sr", "fd", "nbd", "rbd", "zram", "drbd"];

/// Why a disk is left alone.
const MUTE: &str = "the disk does not say whether it sleeps: it is not asked";

/// ATA CHECK POWER MODE, without data, with the registers as sense data (SAT-4, 12.2).
const CHECK_POWER: [u8; 16] = [0x85, 0x06, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xE5, 0];

/// ATA SMART READ DATA: one sector in.
const SMART_READ: [u8; 16] = [0x85, 0x08, 0x0E, 0, 0xD0, 0, 1, 0, 0, 0, 0x4F, 0, 0xC2, 0, 0xB0, 0];

/// REQUEST SENSE: tells the power condition, and is answered asleep (SPC-5, 5.12 and 6.39).
const REQUEST_SENSE: [u8; 6] = [0x03, 0, 0, 0, 252, 0];

/// Longest log page that is read.
const LOG_PAGE: u16 = 512;

/// Log pages of SCSI disks: solid state media, background scan, temperature, informational
/// exceptions.
const LOG_PAGES: [u8; 4] = [0x11, 0x15, 0x0D, 0x2F];

/// Disks and the baseboard controller of a host.
pub(crate) struct Devices {
    root: PathBuf,
    ioctl: Box<dyn DeviceIoctl>,
}

impl Devices {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, ioctl: Box::new(Kernel) }
    }

    pub(super) fn handle(&self, verb: &str) -> Result<Value, Refusal> {
        match verb {
            "disks.read" => Ok(self.disks()),
            "disks.awake" => {
                let awake: Vec<String> = self.names().filter(|name| self.is_awake(name)).collect();
                Ok(json!({"awake": awake}))
            }
            "ipmi.read" => self.ipmi(),
            _ => Err(super::handler::not_mine()),
        }
    }

    fn disks(&self) -> Value {
        let disks: Vec<Value> = self.names().map(|name| self.disk(&name)).collect();
        if disks.is_empty() {
            return json!({"disks": [], "reason": "the kernel shows no disks of its own"});
        }
        json!({"disks": disks})
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let entries = std::fs::read_dir(self.root.join("sys/block"));
        let names = entries.into_iter().flatten().flatten();
        let mut names: Vec<String> =
            names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        let is_disk = |name: &String| !NO_DISKS.iter().any(|start| name.starts_with(start));
        names.into_iter().filter(is_disk).take(DISKS)
    }

    /// One disk: who it is, and its health or why there is none.
    fn disk(&self, name: &str) -> Value {
        let mut members = Map::new();
        members.insert("disk".to_owned(), json!(name));
        for what in ["model", "serial", "wwid", "vendor"] {
            members.extend(
                self.text(name, &format!("device/{what}")).map(|t| (what.to_owned(), json!(t))),
            );
        }
        members.extend(self.text(name, "wwid").map(|text| ("wwid".to_owned(), json!(text))));
        let vendor = self.text(name, "device/vendor");
        let health = match vendor.as_deref() {
            _ if name.starts_with("nvme") => self.nvme(name),
            Some("ATA") => self.ata(name),
            _ => self.scsi(name),
        };
        match health {
            Ok(Value::Object(more)) => members.extend(more),
            Ok(_) => {}
            Err(why) => drop(members.insert("unavailable".to_owned(), json!(why))),
        }
        Value::Object(members)
    }

    fn nvme(&self, name: &str) -> Result<Value, String> {
        if self.is_suspended(name) {
            return Ok(json!({"power": "asleep"}));
        }
        // `nvme0n1` is a name space of the controller `nvme0`.
        let controller = name.rfind('n').filter(|at| *at > 3).and_then(|at| name.get(..at));
        let device = self.open(controller.ok_or("not a name of an NVMe disk")?)?;
        let mut page = [0; 512];
        self.ioctl.nvme_log(device.as_fd(), 0x02, &mut page).map_err(|error| error.to_string())?;
        Ok(parse::nvme_health(&page))
    }

    fn ata(&self, name: &str) -> Result<Value, String> {
        if self.is_suspended(name) {
            return Ok(json!({"power": "asleep"}));
        }
        let device = self.open(name)?;
        if self.power(&device)? == Power::Standby {
            return Ok(json!({"power": "asleep"}));
        }
        let mut sector = [0; 512];
        let read = self.ioctl.scsi(device.as_fd(), &SMART_READ, &mut sector);
        read.map_err(|error| error.to_string())?;
        parse::smart_data(&sector).ok_or_else(|| "the disk's SMART data has a wrong sum".to_owned())
    }

    fn power(&self, device: &File) -> Result<Power, String> {
        let answer = self.ioctl.scsi(device.as_fd(), &CHECK_POWER, &mut []);
        parse::power_mode(&answer.map_err(|error| error.to_string())?.sense)
            .ok_or_else(|| MUTE.to_owned())
    }

    /// A disk that speaks SCSI itself: SAS. What a RAID controller shows has none of the pages;
    /// the disks behind it are not asked.
    fn scsi(&self, name: &str) -> Result<Value, String> {
        let is_disk = self.text(name, "device/type").as_deref() == Some("0");
        let place = std::fs::read_link(self.root.join("sys/block").join(name)).unwrap_or_default();
        if !name.starts_with("sd") || !is_disk {
            return Err("neither NVMe, ATA nor SCSI: such disks are not asked".to_owned());
        }
        // Bridges of USB hang at commands they do not know.
        if place.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"usb")) {
            return Err("behind USB: not asked".to_owned());
        }
        if self.is_suspended(name) {
            return Ok(json!({"power": "asleep"}));
        }
        let device = self.open(name)?;
        let mut sense = [0; 252];
        let asked = self.ioctl.scsi(device.as_fd(), &REQUEST_SENSE, &mut sense);
        let answer = asked.map_err(|error| error.to_string())?;
        let sense = sense.get(..answer.read).unwrap_or_default();
        match parse::power_condition(sense).filter(|_| answer.status == 0) {
            Some(Power::Active) => {}
            Some(Power::Standby) => return Ok(json!({"power": "asleep"})),
            None => return Err(MUTE.to_owned()),
        }
        let mut members = Map::new();
        for page in LOG_PAGES {
            let mut out = [0; LOG_PAGE as usize];
            let [high, low] = LOG_PAGE.to_be_bytes();
            // LOG SENSE, cumulative values.
            let cdb = [0x4D, 0, 0x40 | page, 0, 0, 0, 0, high, low, 0];
            // A disk without the page refuses the command.
            let Ok(answer) = self.ioctl.scsi(device.as_fd(), &cdb, &mut out) else { continue };
            if answer.status == 0 {
                let read = out.get(..answer.read).unwrap_or_default();
                members.extend(parse::log_page(page, read));
            }
        }
        if members.is_empty() {
            return Err("it has no log pages: a RAID controller's or a virtual disk".to_owned());
        }
        members.insert("power".to_owned(), json!("active"));
        Ok(Value::Object(members))
    }

    fn is_awake(&self, name: &str) -> bool {
        let ata = self.text(name, "device/vendor").as_deref() == Some("ATA");
        let awake = || self.open(name).and_then(|device| self.power(&device));
        ata && !self.is_suspended(name) && awake() == Ok(Power::Active)
    }

    fn is_suspended(&self, name: &str) -> bool {
        let status = self.text(name, "device/power/runtime_status");
        status.is_some_and(|status| status.starts_with("suspend"))
    }

    fn ipmi(&self) -> Result<Value, Refusal> {
        let nothing = |why: String| Refusal::new(Code::Unavailable, why);
        let device = self.open("ipmi0").map_err(|_| {
            nothing("no baseboard controller: /dev/ipmi0 is not there (ipmi_devintf)".to_owned())
        })?;
        let ask = |function, command, data: &[u8]| {
            self.ioctl.ipmi(device.as_fd(), function, command, data, IPMI_WAIT)
        };
        // DCMI, Get Power Reading (DCMI 1.5, 6.6.1).
        let answer = ask(0x2C, 0x02, &[0xDC, 1, 0, 0]);
        let answer =
            answer.map_err(|error| nothing(format!("the baseboard controller: {error}")))?;
        let power = parse::power_reading(&answer);
        let sensors = sdr::read(&ask);
        if power.is_none() && sensors.is_none() {
            let text = "the baseboard controller gives no power reading and lists no sensors";
            return Err(nothing(text.to_owned()));
        }
        let mut found = power.unwrap_or_else(|| json!({}));
        if let Some(members) = found.as_object_mut() {
            members.insert("sensors".to_owned(), json!(sensors.unwrap_or_default()));
        }
        Ok(found)
    }

    fn open(&self, name: &str) -> Result<File, String> {
        let path = self.root.join("dev").join(name);
        let file =
            File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
        file.map_err(|error| format!("/dev/{name}: {error}"))
    }

    fn text(&self, name: &str, what: &str) -> Option<String> {
        let text = read(&self.root.join("sys/block").join(name).join(what))?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Sensors of a controller that answers with these bytes, for the fuzz target: a length, then so
/// many.
#[cfg(fuzzing)]
pub(crate) fn sdr(answers: &[u8]) -> usize {
    let rest = std::cell::Cell::new(answers);
    let ask = |_: u8, _: u8, _: &[u8]| {
        let (length, more) = rest.get().split_first().ok_or(std::io::ErrorKind::TimedOut)?;
        let (answer, more) = more.split_at(usize::from(*length).min(more.len()));
        rest.set(more);
        Ok(answer.to_vec())
    };
    sdr::read(&ask).map_or(0, |sensors| sensors.len())
}

#[cfg(test)]
mod tests;
