use super::*;
use std::os::unix::fs::symlink;
use std::time::Duration;

/// A tree of `/sys` for a test.
pub(crate) struct Tree(pub(crate) tempfile::TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(tree.path("sys/class/hwmon")).unwrap();
        tree
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A chip on a device of a bus, with its files.
    pub(crate) fn chip(&self, n: u32, bus: &str, device: &str, files: &[(&str, &str)]) {
        let home = format!("sys/devices/{bus}/{device}");
        std::fs::create_dir_all(self.path(&home)).unwrap();
        std::fs::create_dir_all(self.path(&format!("sys/bus/{bus}"))).unwrap();
        let _ =
            symlink(self.path(&format!("sys/bus/{bus}")), self.path(&format!("{home}/subsystem")));
        let hwmon = format!("{home}/hwmon/hwmon{n}");
        for (name, text) in files {
            self.write(&format!("{hwmon}/{name}"), text);
        }
        let _ = symlink(self.path(&home), self.path(&format!("{hwmon}/device")));
        symlink(self.path(&hwmon), self.path(&format!("sys/class/hwmon/hwmon{n}"))).unwrap();
    }

    pub(crate) fn read(&self, awake: &[&str]) -> Vec<Chip> {
        let awake: Vec<String> = awake.iter().map(|name| (*name).to_owned()).collect();
        let mut files = DeadlineFiles::new(Duration::from_millis(200));
        read_chips(self.0.path(), &mut files, &awake)
    }
}

#[test]
fn values_have_the_units_of_sensors() {
    let tree = Tree::new();
    tree.chip(
        0,
        "platform",
        "coretemp.0",
        &[
            ("name", "coretemp\n"),
            ("temp1_label", "Package id 0\n"),
            ("temp1_input", "45000\n"),
            ("temp1_crit", "100000\n"),
            ("temp1_crit_alarm", "0\n"),
            ("in0_input", "1300\n"),
            ("fan1_input", "1200\n"),
            ("power1_average", "25000000\n"),
            ("freq1_input", "400000000\n"),
            ("temp1_notes", "x"),
            ("uevent", ""),
        ],
    );
    let chips = tree.read(&[]);
    assert_eq!((chips.len(), chips[0].name.as_str()), (1, "coretemp-isa-0000"));
    assert_eq!(chips[0].device, "/devices/platform/coretemp.0");
    let values: BTreeMap<&str, f64> = chips[0]
        .features
        .iter()
        .flat_map(|f| f.values.iter().map(|(name, value)| (name.as_str(), value.unwrap())))
        .collect();
    let expected = [
        ("temp1_input", 45.0),
        ("temp1_crit", 100.0),
        ("temp1_crit_alarm", 0.0),
        ("in0_input", 1.3),
        ("fan1_input", 1200.0),
        ("power1_average", 25.0),
        ("freq1_input", 4e8),
    ];
    assert_eq!(values, BTreeMap::from(expected));
    assert_eq!(chips[0].features[0].label, "Package id 0");
}

#[test]
fn nvme_hangs_on_its_pci_device_and_two_are_two() {
    let tree = Tree::new();
    for (n, pci) in [(1_u32, "0000:01:00.0"), (2, "0000:02:00.0")] {
        tree.write(&format!("sys/devices/pci/{pci}/x"), "");
        std::fs::create_dir_all(tree.path("sys/bus/pci")).unwrap();
        symlink(tree.path("sys/bus/pci"), tree.path(&format!("sys/devices/pci/{pci}/subsystem")))
            .unwrap();
        let nvme = format!("nvme{n}");
        tree.chip(
            n,
            "nvme",
            &nvme,
            &[
                ("name", "nvme"),
                ("temp1_input", "38850"),
                ("temp1_max", "65261850"),
                ("temp1_min", "-273150"),
            ],
        );
        symlink(
            tree.path(&format!("sys/devices/pci/{pci}")),
            tree.path(&format!("sys/devices/nvme/{nvme}/device")),
        )
        .unwrap();
    }
    let names: Vec<String> = tree.read(&[]).into_iter().map(|chip| chip.name).collect();
    assert_eq!(names, ["nvme-pci-0100", "nvme-pci-0200"]);
}

#[test]
fn same_names_stay_apart() {
    let tree = Tree::new();
    for n in 0..2 {
        tree.chip(
            n,
            "virtual",
            &format!("v{n}"),
            &[
                ("name", "acpitz"),
                ("temp1_input", "1"),
                ("temp2_input", "2"),
                ("temp1_label", "T"),
                ("temp2_label", "T"),
            ],
        );
    }
    let chips = tree.read(&[]);
    assert_eq!(
        chips.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        ["acpitz-virtual-0", "acpitz-virtual-0#2"]
    );
    assert_eq!(
        chips[0].features.iter().map(|f| f.label.as_str()).collect::<Vec<_>>(),
        ["T (temp1)", "T (temp2)"]
    );
}

#[test]
fn files_of_old_drivers_are_below_device() {
    let tree = Tree::new();
    tree.chip(0, "platform", "it87.656", &[]);
    tree.write("sys/devices/platform/it87.656/name", "it87");
    tree.write("sys/devices/platform/it87.656/temp1_input", "30000");
    let hwmon = tree.path("sys/devices/platform/it87.656/hwmon/hwmon0");
    std::fs::create_dir_all(&hwmon).unwrap();
    symlink(tree.path("sys/devices/platform/it87.656"), hwmon.join("device")).unwrap();
    let chips = tree.read(&[]);
    assert_eq!((chips[0].name.as_str(), chips[0].features.len()), ("it87-isa-0290", 1));
}

#[test]
fn a_sleeping_disk_and_a_suspended_card_are_not_asked() {
    let tree = Tree::new();
    tree.chip(0, "scsi", "2:0:0:0", &[("name", "drivetemp"), ("temp1_input", "30000")]);
    tree.write("sys/devices/scsi/2:0:0:0/block/sda/size", "1");
    tree.chip(1, "pci", "0000:03:00.0", &[("name", "nouveau"), ("temp1_input", "40000")]);
    tree.write("sys/devices/pci/0000:03:00.0/power/runtime_status", "suspended\n");
    let asleep =
        |awake: &[&str]| tree.read(awake).iter().map(|chip| chip.asleep).collect::<Vec<_>>();
    assert_eq!(asleep(&[]), [true, true]);
    assert_eq!(asleep(&["sda"]), [false, true]);
    assert_eq!(tree.read(&["sda"])[0].block.as_deref(), Some("sda"));
    assert!(tree.read(&[])[0].features.is_empty());
}

#[test]
fn a_driver_that_fails_or_hangs_costs_its_own_value_only() {
    let tree = Tree::new();
    tree.chip(
        0,
        "platform",
        "dell.0",
        &[("name", "dell_smm"), ("temp1_input", "garbage"), ("temp3_input", "41000")],
    );
    let fifo = tree.path("sys/devices/platform/dell.0/hwmon/hwmon0/temp2_input");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let chips = tree.read(&[]);
    let values: Vec<_> =
        chips[0].features.iter().map(|f| *f.values.values().next().unwrap()).collect();
    assert_eq!(values, [Err(Fault::Other), Err(Fault::TimedOut), Ok(41.0)]);
    drop(std::fs::File::options().read(true).write(true).open(&fifo));
}

#[test]
fn a_host_without_sensors_has_none() {
    let tree = Tree::new();
    assert!(tree.read(&[]).is_empty());
    let nothing = tempfile::tempdir().unwrap();
    let mut files = DeadlineFiles::new(Duration::from_millis(200));
    assert!(read_chips(nothing.path(), &mut files, &[]).is_empty());
}
