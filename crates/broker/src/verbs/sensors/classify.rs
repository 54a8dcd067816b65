//! What a chip and a value are, by driver and subfeature, never by label alone: labels are what
//! the board's maker or the administrator wrote.

/// Classes of chips, by the beginning of the driver's name.
const DRIVERS: [(&str, &str); 50] = [
    ("coretemp", "cpu"),
    ("k10temp", "cpu"),
    ("k8temp", "cpu"),
    ("zenpower", "cpu"),
    ("cpu_thermal", "cpu"),
    ("cpu-thermal", "cpu"),
    ("soc_thermal", "cpu"),
    ("via_cputemp", "cpu"),
    ("x86_pkg_temp", "cpu"),
    ("nvme", "disk"),
    ("drivetemp", "disk"),
    ("amdgpu", "gpu"),
    ("radeon", "gpu"),
    ("nouveau", "gpu"),
    ("i915", "gpu"),
    ("xe", "gpu"),
    ("jc42", "memory"),
    ("spd5118", "memory"),
    ("mlx5", "network"),
    ("mlxsw", "network"),
    ("igc", "network"),
    ("i350bb", "network"),
    ("r8169", "network"),
    ("iwlwifi", "network"),
    ("mt7", "network"),
    ("ath1", "network"),
    ("bnxt_en", "network"),
    ("nct6", "board"),
    ("it8", "board"),
    ("w83", "board"),
    ("f71", "board"),
    ("asus", "board"),
    ("dell_smm", "board"),
    ("dell_ddv", "board"),
    ("thinkpad", "board"),
    ("applesmc", "board"),
    ("pch_", "board"),
    ("acpitz", "board"),
    ("acpi_fan", "board"),
    ("rp1_adc", "board"),
    ("rpi_volt", "board"),
    ("pwmfan", "board"),
    ("gigabyte_wmi", "board"),
    ("hp_wmi", "board"),
    ("lm7", "board"),
    ("lm8", "board"),
    ("lm9", "board"),
    ("adt74", "board"),
    ("corsair", "cooling"),
    ("nzxt", "cooling"),
];

/// Words of units by the beginning of a feature's name.
const UNITS: [(&str, &str, &str); 9] = [
    ("temp", "temperature", "celsius"),
    ("in", "voltage", "volt"),
    ("curr", "current", "ampere"),
    ("power", "power", "watt"),
    ("energy", "energy", "joule"),
    ("humidity", "humidity", "percent"),
    ("fan", "fan", "rpm"),
    ("freq", "frequency", "hertz"),
    ("pwm", "pwm", "of_255"),
];

/// The class of a driver.
pub(super) fn class(driver: &str) -> &'static str {
    let known = DRIVERS.iter().find(|(start, _)| driver.starts_with(start));
    match known {
        Some(("xe", _)) if driver != "xe" => "other",
        Some((_, class)) => class,
        // Ports, batteries and adapters: `ucsi_source_psy_USBC000:002`, `BAT0`, `AC`.
        None if driver.starts_with("ucsi_") || driver.starts_with("BAT") || driver == "AC" => {
            "power"
        }
        None => "other",
    }
}

/// Kind and unit of a feature.
pub(super) fn unit(feature: &str) -> (&'static str, &'static str) {
    let word = feature.trim_end_matches(|c: char| c.is_ascii_digit());
    let known = UNITS.iter().find(|(start, ..)| *start == word);
    known.map_or(("flag", "none"), |(_, kind, unit)| (kind, unit))
}

/// Why a temperature is no temperature.
pub(super) fn implausible(driver: &str, celsius: f64) -> Option<&'static str> {
    let is = |value: f64| (celsius - value).abs() < 0.05;
    if celsius <= -100.0 || celsius >= 250.0 {
        return Some("beyond any sensor of a computer");
    }
    match class(driver) {
        "board" if driver == "acpitz" && (is(16.8) || is(27.8) || is(29.8)) => {
            Some("a constant of the firmware")
        }
        // What chips show for a thermistor that is not there.
        "board" if is(127.0) || is(-55.0) || is(-62.0) || is(216.0) || is(0.0) || is(-128.0) => {
            Some("nothing connected")
        }
        "network" if is(0.0) => Some("the device is down"),
        _ => None,
    }
}

/// Limits that are written where there is none.
pub(super) fn is_no_limit(value: f64) -> bool {
    value >= 65_261.0 || value <= -273.0
}

/// Temperatures of this label are the processor's, on a board's chip.
pub(super) fn is_cpu_label(label: &str) -> bool {
    label.starts_with("PECI")
        || label.starts_with("CPUTIN")
        || label == "TSI0_TEMP"
        || label == "SMBUSMASTER 0"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_units() {
        for (driver, expected) in [
            ("coretemp", "cpu"),
            ("k10temp", "cpu"),
            ("nvme", "disk"),
            ("nct6798", "board"),
            ("amdgpu", "gpu"),
            ("xe", "gpu"),
            ("xen", "other"),
            ("spd5118", "memory"),
            ("ucsi_source_psy_USBC000:002", "power"),
            ("unheard_of", "other"),
            ("pch_cannonlake", "board"),
        ] {
            assert_eq!(class(driver), expected, "{driver}");
        }
        assert_eq!(unit("temp12"), ("temperature", "celsius"));
        assert_eq!(unit("in0"), ("voltage", "volt"));
        assert_eq!(unit("intrusion0"), ("flag", "none"));
    }

    #[test]
    fn values_that_mean_nothing_is_there() {
        assert!(implausible("nct6798", 127.0).is_some() && implausible("nct6798", 45.0).is_none());
        assert!(implausible("acpitz", 16.8).is_some() && implausible("acpitz", 40.0).is_none());
        assert!(implausible("coretemp", 0.0).is_none(), "a cold room");
        assert!(implausible("iwlwifi_1", 0.0).is_some());
        assert!(is_no_limit(65_261.85) && is_no_limit(-273.15) && !is_no_limit(100.0));
    }
}
