//! The normalised form: what a program can use without knowing drivers.

use serde_json::{Map, Value, json};

use super::classify::{class, implausible, is_cpu_label, is_no_limit, unit};
use super::deadline::Fault;
use super::hwmon::{Chip, Feature};
use super::zones::Zone;

/// Chips with their readings, zones, and a summary: one temperature for each processor socket
/// and each disk. Says why, when there is nothing.
pub(crate) fn model(chips: &[Chip], zones: &[Zone]) -> Value {
    let value = json!({
        "chips": chips.iter().map(chip).collect::<Vec<_>>(),
        "zones": zones.iter().map(zone).collect::<Vec<_>>(),
        "summary": { "cpu": cpus(chips, zones), "disks": disks(chips) },
    });
    const NONE: &str = "the kernel shows no sensors; on a virtual machine there are none, \
                        elsewhere load the board's driver (sensors-detect names it)";
    let none = chips.is_empty() && zones.is_empty();
    with(value, "reason", none.then_some(NONE))
}

fn chip(chip: &Chip) -> Value {
    let readings: Vec<Value> =
        chip.features.iter().map(|feature| reading(&chip.driver, feature)).collect();
    let value = json!({
        "key": format!("{}@{}", chip.driver, chip.device),
        "chip": chip.name, "driver": chip.driver, "class": class(&chip.driver),
        "adapter": chip.adapter, "readings": readings,
    });
    let value = with(value, "block", chip.block.as_deref());
    with(value, "asleep", chip.asleep.then_some(true))
}

/// The object with one more member, when there is one.
fn with(mut value: Value, name: &str, member: Option<impl Into<Value>>) -> Value {
    if let (Some(members), Some(member)) = (value.as_object_mut(), member) {
        members.insert(name.to_owned(), member.into());
    }
    value
}

fn zone(zone: &Zone) -> Value {
    json!({"zone": zone.name, "type": zone.kind, "celsius": zone.celsius})
}

fn reading(driver: &str, feature: &Feature) -> Value {
    let (kind, unit) = unit(&feature.name);
    let mut members = Map::new();
    members.insert("feature".to_owned(), json!(feature.name));
    members.insert("label".to_owned(), json!(feature.label));
    members.insert("kind".to_owned(), json!(kind));
    members.insert("unit".to_owned(), json!(unit));
    let (value, status) = current(driver, feature);
    members.insert("value".to_owned(), json!(value));
    members.insert("status".to_owned(), json!(status));
    for (name, value) in &feature.values {
        let what = name.strip_prefix(&format!("{}_", feature.name)).unwrap_or(name);
        let limit = !matches!(what, "input" | "average" | "fault");
        if let Ok(value) = value
            && limit
            && !(kind == "temperature" && is_no_limit(*value))
        {
            members.insert(what.to_owned(), json!(value));
        }
    }
    Value::Object(members)
}

/// The value now and whether it can be believed.
fn current(driver: &str, feature: &Feature) -> (Option<f64>, String) {
    let value = |what: &str| feature.values.get(&format!("{}_{what}", feature.name));
    if matches!(value("fault"), Some(Ok(fault)) if *fault != 0.0) {
        return (None, "fault: the sensor is open or short".to_owned());
    }
    let read = value("input").or_else(|| value("average"));
    let read = read.or_else(|| feature.values.get(&feature.name));
    match read {
        None => (None, "none".to_owned()),
        Some(Ok(value)) => {
            let odd =
                if feature.name.starts_with("temp") { implausible(driver, *value) } else { None };
            match odd {
                Some(why) => (Some(*value), format!("implausible: {why}")),
                None => (Some(*value), "ok".to_owned()),
            }
        }
        Some(Err(fault)) => (None, describe(*fault)),
    }
}

fn describe(fault: Fault) -> String {
    match fault {
        Fault::TimedOut => "timeout".to_owned(),
        Fault::Stuck => "not read: too many sensors hang".to_owned(),
        Fault::Errno(number) => {
            format!("error: {}", std::io::Error::from_raw_os_error(number))
        }
        Fault::Other => "error: not a number".to_owned(),
    }
}

/// One temperature for each socket, and what it is.
fn cpus(chips: &[Chip], zones: &[Zone]) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    for chip in chips.iter().filter(|chip| class(&chip.driver) == "cpu") {
        let good = |feature: &&Feature| good(&chip.driver, feature).is_some();
        let temperatures: Vec<&Feature> =
            chip.features.iter().filter(|f| f.name.starts_with("temp")).filter(good).collect();
        let labelled = |label: &str| temperatures.iter().find(|f| f.label.starts_with(label));
        // Tctl steers fans and may carry an offset of up to 27 degrees; Tdie is the die's.
        let best = labelled("Package id").or_else(|| labelled("Tdie"));
        let control = best.is_none().then(|| labelled("Tctl")).flatten();
        let hottest = || {
            let by = |a: &&&Feature, b: &&&Feature| {
                let (a, b) = (good_value(&chip.driver, a), good_value(&chip.driver, b));
                a.total_cmp(&b)
            };
            temperatures.iter().max_by(by)
        };
        if let Some(feature) = best.or(control).or_else(hottest) {
            found.push(json!({
                "socket": found.len(), "chip": chip.name, "label": feature.label,
                "celsius": good_value(&chip.driver, feature), "control_value": control.is_some(),
            }));
        }
    }
    if found.is_empty() {
        found.extend(from_board(chips));
    }
    if found.is_empty() {
        let zone = zones.iter().find(|zone| class(&zone.kind) == "cpu");
        found.extend(zone.map(|zone| {
            json!({"socket": 0, "zone": zone.name, "label": zone.kind, "celsius": zone.celsius, "control_value": false})
        }));
    }
    found
}

/// A board's chip that measures the processor.
fn from_board(chips: &[Chip]) -> Option<Value> {
    let boards = chips.iter().filter(|chip| class(&chip.driver) == "board");
    let features = boards.flat_map(|chip| chip.features.iter().map(move |f| (chip, f)));
    let mut cpu =
        features.filter(|(chip, f)| is_cpu_label(&f.label) && good(&chip.driver, f).is_some());
    let (chip, feature) = cpu.next()?;
    Some(json!({
        "socket": 0, "chip": chip.name, "label": feature.label,
        "celsius": good_value(&chip.driver, feature), "control_value": false,
    }))
}

fn disks(chips: &[Chip]) -> Vec<Value> {
    let disks = chips.iter().filter(|chip| class(&chip.driver) == "disk");
    let disk = |chip: &Chip| {
        let composite = chip.features.iter().find(|feature| feature.name == "temp1");
        let celsius = composite.and_then(|feature| good(&chip.driver, feature));
        json!({"chip": chip.name, "block": chip.block, "celsius": celsius, "asleep": chip.asleep})
    };
    disks.map(disk).collect()
}

fn good(driver: &str, feature: &Feature) -> Option<f64> {
    match current(driver, feature) {
        (Some(value), status) if status == "ok" => Some(value),
        _ => None,
    }
}

fn good_value(driver: &str, feature: &Feature) -> f64 {
    good(driver, feature).unwrap_or(f64::MIN)
}

#[cfg(test)]
mod tests {
    use super::super::hwmon::tests::Tree;
    use super::*;

    fn summary(tree: &Tree, what: &str) -> Value {
        model(&tree.read(&["sda"]), &[])["summary"][what].clone()
    }

    #[test]
    fn each_socket_has_its_package() {
        let tree = Tree::new();
        for (n, temp) in [(0, "40000"), (1, "60000")] {
            let label = format!("Package id {n}");
            tree.chip(
                n,
                "platform",
                &format!("coretemp.{n}"),
                &[
                    ("name", "coretemp"),
                    ("temp1_label", &label),
                    ("temp1_input", temp),
                    ("temp5_label", "Core 28"),
                    ("temp5_input", "90000"),
                ],
            );
        }
        let cpus = summary(&tree, "cpu");
        assert_eq!((&cpus[0]["celsius"], &cpus[1]["celsius"]), (&json!(40.0), &json!(60.0)));
    }

    #[test]
    fn tdie_before_tctl_which_is_flagged() {
        let tree = Tree::new();
        tree.chip(
            0,
            "pci",
            "0000:00:18.3",
            &[
                ("name", "k10temp"),
                ("temp1_label", "Tctl"),
                ("temp1_input", "77000"),
                ("temp2_label", "Tdie"),
                ("temp2_input", "50000"),
            ],
        );
        tree.chip(
            1,
            "pci",
            "0000:00:19.3",
            &[
                ("name", "k10temp"),
                ("temp1_label", "Tctl"),
                ("temp1_input", "70000"),
                ("temp3_label", "Tccd1"),
                ("temp3_input", "80000"),
            ],
        );
        let cpus = summary(&tree, "cpu");
        assert_eq!((&cpus[0]["celsius"], &cpus[0]["control_value"]), (&json!(50.0), &json!(false)));
        assert_eq!((&cpus[1]["celsius"], &cpus[1]["control_value"]), (&json!(70.0), &json!(true)));
    }

    #[test]
    fn volts_and_watts_are_no_temperatures() {
        let tree = Tree::new();
        tree.chip(
            0,
            "pci",
            "0000:03:00.0",
            &[
                ("name", "amdgpu"),
                ("in0_input", "1300"),
                ("power1_average", "25000000"),
                ("temp1_label", "edge"),
                ("temp1_input", "50000"),
                ("fan1_input", "900"),
            ],
        );
        let value = model(&tree.read(&[]), &[]);
        let readings = value["chips"][0]["readings"].as_array().unwrap();
        let kinds: Vec<_> = readings
            .iter()
            .map(|r| (r["kind"].as_str().unwrap(), r["value"].as_f64().unwrap()))
            .collect();
        assert_eq!(
            kinds,
            [("temperature", 50.0), ("voltage", 1.3), ("power", 25.0), ("fan", 900.0)]
        );
        assert_eq!(value["summary"]["cpu"], json!([]));
    }

    #[test]
    fn faults_sentinels_and_errors_are_told() {
        let tree = Tree::new();
        tree.chip(
            0,
            "platform",
            "nct6775.656",
            &[
                ("name", "nct6798"),
                ("temp1_input", "127000"),
                ("temp2_input", "45000"),
                ("temp2_fault", "1"),
                ("temp3_input", "40000"),
                ("temp3_max", "65261850"),
                ("temp3_label", "PECI Agent 0"),
                ("temp4_alarm", "1"),
                ("intrusion0_alarm", "1"),
            ],
        );
        let value = model(&tree.read(&[]), &[]);
        let status: Vec<&str> = value["chips"][0]["readings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["status"].as_str().unwrap())
            .collect();
        assert_eq!(
            status,
            [
                "implausible: nothing connected",
                "fault: the sensor is open or short",
                "ok",
                "none",
                "none"
            ]
        );
        assert_eq!(value["chips"][0]["readings"][2].get("max"), None);
        assert_eq!(value["summary"]["cpu"][0]["celsius"], json!(40.0));
    }

    #[test]
    fn disks_by_their_device_and_nothing_with_a_reason() {
        let tree = Tree::new();
        tree.chip(0, "scsi", "2:0:0:0", &[("name", "drivetemp"), ("temp1_input", "30000")]);
        tree.write("sys/devices/scsi/2:0:0:0/block/sda/size", "1");
        tree.chip(1, "scsi", "3:0:0:0", &[("name", "drivetemp"), ("temp1_input", "31000")]);
        tree.write("sys/devices/scsi/3:0:0:0/block/sdb/size", "1");
        let disks = summary(&tree, "disks");
        assert_eq!((&disks[0]["block"], &disks[0]["celsius"]), (&json!("sda"), &json!(30.0)));
        assert_eq!((&disks[1]["celsius"], &disks[1]["asleep"]), (&json!(null), &json!(true)));
        assert!(model(&[], &[])["reason"].as_str().unwrap().contains("no sensors"));
    }

    #[test]
    fn a_zone_stands_in_for_a_board_without_chips() {
        let zones =
            [Zone { kind: "cpu-thermal".into(), name: "thermal_zone0".into(), celsius: 48.3 }];
        assert_eq!(model(&[], &zones)["summary"]["cpu"][0]["celsius"], json!(48.3));
    }
}
