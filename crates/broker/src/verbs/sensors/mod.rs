//! Temperatures, fans, voltages and power, from `/sys`.
//!
//! Sources: Linux' `Documentation/hwmon/sysfs-interface.rst` for files and units, libsensors for
//! the names of chips, `Documentation/driver-api/thermal` for zones. Every reader takes the root
//! directory, so that trees with the oddities of real boards are tests.

mod chip_name;
mod classify;
mod deadline;
mod hwmon;
mod lm_sensors;
mod model;
mod zones;

pub(crate) use deadline::DeadlineFiles;
pub(crate) use hwmon::read_chips;
pub(crate) use lm_sensors::{read_output, sensors_j};
pub(crate) use model::model;
pub(crate) use zones::{read_energy, read_zones};
