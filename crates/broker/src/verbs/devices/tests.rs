use super::*;
use crate::device_ioctl::ScsiAnswer;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;

/// Answers as recorded, and notes what was asked.
#[derive(Default)]
struct Recorded {
    power: u8,
    asked: std::sync::Arc<Mutex<Vec<&'static str>>>,
}

fn smart_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    // 194: 34 degrees, lowest 18, highest 45; 5: none; 9: 26284 hours; 197: 8
    for (n, entry) in [
        [194, 0x22, 0, 66, 55, 34, 0, 18, 0, 45, 0, 0],
        [5, 0x33, 0, 100, 100, 0, 0, 0, 0, 0, 0, 0],
        [9, 0x32, 0, 65, 65, 0xac, 0x66, 0, 0, 9, 9, 0],
        [197, 0x12, 0, 100, 100, 8, 0, 0, 0, 0, 0, 0],
    ]
    .iter()
    .enumerate()
    {
        sector[2 + 12 * n..14 + 12 * n].copy_from_slice(entry);
    }
    let sum = sector.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    sector[511] = 0_u8.wrapping_sub(sum);
    sector
}

impl DeviceIoctl for Recorded {
    fn nvme_log(&self, _: BorrowedFd<'_>, page: u8, out: &mut [u8; 512]) -> io::Result<()> {
        assert_eq!(page, 2);
        self.asked.lock().unwrap().push("nvme");
        out[1..3].copy_from_slice(&312_u16.to_le_bytes());
        out[3..6].copy_from_slice(&[100, 10, 3]);
        out[48..56].copy_from_slice(&7_u64.to_le_bytes());
        out[128..136].copy_from_slice(&1234_u64.to_le_bytes());
        out[200..202].copy_from_slice(&312_u16.to_le_bytes());
        out[202..204].copy_from_slice(&330_u16.to_le_bytes());
        Ok(())
    }

    fn scsi(&self, _: BorrowedFd<'_>, cdb: &[u8], out: &mut [u8]) -> io::Result<ScsiAnswer> {
        let mut answer = ScsiAnswer { read: out.len(), ..ScsiAnswer::default() };
        let mut say = |bytes: &[u8]| {
            out[..bytes.len()].copy_from_slice(bytes);
            answer.read = bytes.len();
        };
        let asked = match *cdb {
            [0x85, .., 0xE5, _] => {
                let sense = [0x72, 1, 0, 0x1d, 0, 0, 0, 0x0e, 0x09, 0x0c, 0, 0, 0, self.power];
                answer.sense[..14].copy_from_slice(&sense);
                answer.status = 2;
                "power"
            }
            [0x85, ..] => {
                say(&smart_sector());
                "smart"
            }
            [0x03, ..] => {
                // Fixed format: what ATA calls standby is 5Eh/02h here.
                let code = if self.power == 0 { [0x5E, 0x02] } else { [0, 0] };
                say(&[0x70, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, code[0], code[1], 0, 0, 0, 0]);
                "sense"
            }
            [0x4D, _, 0x4D, ..] => {
                say(&[0x0D, 0, 0, 12, 0, 0, 3, 2, 0, 31, 0, 1, 3, 2, 0, 65]);
                "log"
            }
            [0x4D, _, 0x6F, ..] => {
                say(&[0x2F, 0, 0, 8, 0, 0, 3, 4, 0x5D, 0x10, 31, 0]);
                "log"
            }
            [0x4D, _, 0x55, ..] => {
                say(&[0x15, 0, 0, 12, 0, 0, 3, 8, 0, 0, 0x0E, 0x10, 0, 0, 0, 0]);
                "log"
            }
            _ => {
                answer.status = 2;
                "log"
            }
        };
        self.asked.lock().unwrap().push(asked);
        Ok(answer)
    }

    fn ipmi(
        &self,
        _: BorrowedFd<'_>,
        function: u8,
        command: u8,
        data: &[u8],
        _: Duration,
    ) -> io::Result<Vec<u8>> {
        if function != 0x2C {
            // No repository of sensors.
            return Ok(vec![0xC1]);
        }
        assert_eq!((function, command, data), (0x2C, 2, &[0xDC, 1, 0, 0][..]));
        Ok(vec![0, 0xDC, 120, 0, 80, 0, 44, 1, 110, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40])
    }
}

fn host(power: u8) -> (tempfile::TempDir, Devices, std::sync::Arc<Mutex<Vec<&'static str>>>) {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("sys/block/sda/device/vendor", "ATA     \n");
    write("sys/block/sda/device/model", "WDC WD40\n");
    write("sys/block/nvme0n1/device/serial", "S1\n");
    write("sys/block/loop0/size", "1");
    for name in ["sda", "nvme0", "ipmi0"] {
        write(&format!("dev/{name}"), "");
    }
    let ioctl = Recorded { power, ..Recorded::default() };
    let asked = std::sync::Arc::clone(&ioctl.asked);
    let devices = Devices { root: root.path().to_owned(), ioctl: Box::new(ioctl) };
    (root, devices, asked)
}

#[test]
fn recorded_answers_of_both_kinds() {
    let (_root, devices, _) = host(0xff);
    let found = devices.handle("disks.read").unwrap();
    let [nvme, sda] = found["disks"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!(
        (&nvme["disk"], &nvme["serial"], &nvme["celsius"]),
        (&json!("nvme0n1"), &json!("S1"), &json!(39))
    );
    assert_eq!(
        (&nvme["sensors_celsius"], &nvme["written_bytes"]),
        (&json!([39, 57]), &json!(3_584_000))
    );
    assert_eq!((&sda["model"], &sda["celsius"]), (&json!("WDC WD40"), &json!(34)));
    assert_eq!((&sda["power_on_hours"], &sda["pending_sectors"]), (&json!(26_284), &json!(8)));
    assert_eq!(devices.handle("disks.awake").unwrap(), json!({"awake": ["sda"]}));
    let power = devices.handle("ipmi.read").unwrap();
    assert_eq!(
        (&power["watts"], &power["most_watts"], &power["active"]),
        (&json!(120), &json!(300), &json!(true))
    );
}

#[test]
fn a_disk_that_sleeps_is_not_asked_for_more() {
    let (root, devices, asked) = host(0x00);
    let found = devices.handle("disks.read").unwrap();
    assert_eq!(found["disks"][1]["power"], "asleep");
    assert_eq!(*asked.lock().unwrap(), ["nvme", "power"]);
    assert_eq!(devices.handle("disks.awake").unwrap(), json!({"awake": []}));
    // Suspended by the kernel: not even opened.
    let status = root.path().join("sys/block/sda/device/power/runtime_status");
    std::fs::create_dir_all(status.parent().unwrap()).unwrap();
    std::fs::write(status, "suspended\n").unwrap();
    asked.lock().unwrap().clear();
    assert_eq!(devices.handle("disks.read").unwrap()["disks"][1]["power"], "asleep");
    assert_eq!(*asked.lock().unwrap(), ["nvme"]);
}

#[test]
fn a_disk_that_does_not_say_whether_it_sleeps_is_not_asked() {
    let (_root, devices, asked) = host(0x77);
    let found = devices.handle("disks.read").unwrap();
    assert!(found["disks"][1]["unavailable"].as_str().unwrap().contains("whether it sleeps"));
    assert!(!asked.lock().unwrap().contains(&"smart"));
}

/// A disk that speaks SCSI itself beside the others; its links as those of sysfs.
fn with_sas(power: u8, place: &str) -> (tempfile::TempDir, Value, Vec<&'static str>) {
    let (root, devices, asked) = host(power);
    let real = root.path().join("sys/devices").join(place);
    std::fs::create_dir_all(real.join("device")).unwrap();
    std::fs::write(real.join("device/vendor"), "SEAGATE \n").unwrap();
    std::fs::write(real.join("device/type"), "0\n").unwrap();
    std::fs::write(root.path().join("dev/sdb"), "").unwrap();
    let link = Path::new("../devices").join(place);
    std::os::unix::fs::symlink(link, root.path().join("sys/block/sdb")).unwrap();
    let found = devices.handle("disks.read").unwrap();
    let mut asked = asked.lock().unwrap().clone();
    asked.retain(|what| matches!(*what, "sense" | "log"));
    (root, found["disks"][2].clone(), asked)
}

#[test]
fn a_sas_disk_tells_its_health_by_log_pages() {
    let (_root, disk, _) = with_sas(0xff, "pci0/host0/block/sdb");
    assert_eq!((&disk["disk"], &disk["power"]), (&json!("sdb"), &json!("active")));
    assert_eq!((&disk["celsius"], &disk["reference_celsius"]), (&json!(31), &json!(65)));
    assert_eq!((&disk["healthy"], &disk["exception"]), (&json!(false), &json!("5d/10")));
    assert_eq!((&disk["power_on_hours"], disk.get("used_percent")), (&json!(60), None));
    let (_root, disk, asked) = with_sas(0x00, "pci0/host0/block/sdb");
    assert_eq!((&disk["power"], asked), (&json!("asleep"), vec!["sense"]));
    let (_root, disk, asked) = with_sas(0xff, "pci0/usb1/1-2/block/sdb");
    assert!(disk["unavailable"].as_str().unwrap().contains("USB") && asked.is_empty());
}

#[test]
fn power_conditions_of_both_formats() {
    let fixed = |code: u8, more: u8| {
        parse::power_condition(&[0x70, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, more])
    };
    assert_eq!((fixed(0, 0), fixed(0x5E, 0x05)), (Some(Power::Active), Some(Power::Active)));
    for (code, more) in [(0x5E, 0x00), (0x5E, 0x02), (0x5E, 0x0A), (0x04, 0x02)] {
        assert_eq!(fixed(code, more), Some(Power::Standby), "{code:x}/{more:x}");
    }
    assert_eq!(fixed(0x3A, 0), None);
    assert_eq!(parse::power_condition(&[0x72, 0, 0x5E, 0x04]), Some(Power::Standby));
    assert_eq!((parse::power_condition(&[]), parse::power_condition(&[0x70, 0])), (None, None));
}

proptest::proptest! {
    #[test]
    fn any_log_page_is_judged(page: u8, bytes in proptest::collection::vec(0_u8.., 0..64)) {
        for code in LOG_PAGES {
            let named = bytes.iter().copied().skip(1);
            let page = [code].into_iter().chain(named).collect::<Vec<_>>();
            proptest::prop_assert!(parse::log_page(code, &page).len() <= bytes.len());
        }
        let _ = (parse::log_page(page, &bytes), parse::power_condition(&bytes));
    }
}

#[test]
fn a_host_without_any_says_why() {
    let root = tempfile::tempdir().unwrap();
    let devices = Devices { root: root.path().to_owned(), ioctl: Box::<Recorded>::default() };
    assert!(devices.handle("disks.read").unwrap()["reason"].is_string());
    assert_eq!(devices.handle("ipmi.read").unwrap_err().code, Code::Unavailable);
}

#[test]
fn damaged_answers_are_none() {
    let mut sector = smart_sector();
    sector[3] ^= 1;
    assert_eq!(parse::smart_data(&sector), None);
    assert_eq!(parse::smart_data(&[0; 512]), None);
    for answer in [&[][..], &[0xC1], &[0, 0xDC, 1], &[0, 0xDD, 1, 0, 1, 0, 1, 0, 1, 0]] {
        assert_eq!(parse::power_reading(answer), None);
    }
    assert_eq!(parse::power_mode(&[0x70; 32]), None);
}

#[test]
fn smartctl_of_several_versions() {
    let of = |text: &str| parse::smartctl(text).unwrap();
    let old = of(
        r#"{"smartctl":{"exit_status":2,"messages":[{"string":"Device is in STANDBY mode, exit(2)"}]},"device":{"name":"/dev/sda"}}"#,
    );
    assert_eq!((&old["power"], &old["disk"]), (&json!("asleep"), &json!("/dev/sda")));
    let new = of(r#"{"power_mode":{"name":"STANDBY"}}"#);
    assert_eq!(new["power"], "asleep");
    let active = of(r#"{"temperature":{"current":41},"smart_status":{"passed":true}}"#);
    assert_eq!((&active["celsius"], &active["healthy"]), (&json!(41), &json!(true)));
    assert_eq!(of(r#"{"temperature":{"current":65535}}"#)["celsius"], json!(null));
    assert!(parse::smartctl("[]").is_none() && parse::smartctl("x").is_none());
}
