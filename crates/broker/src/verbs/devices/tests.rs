use super::*;
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

    fn ata(&self, _: BorrowedFd<'_>, cdb: [u8; 16], out: &mut [u8]) -> io::Result<[u8; 32]> {
        let mut sense = [0; 32];
        if cdb[14] == 0xE5 {
            self.asked.lock().unwrap().push("power");
            sense[..10].copy_from_slice(&[0x72, 1, 0, 0x1d, 0, 0, 0, 0x0e, 0x09, 0x0c]);
            sense[13] = self.power;
        } else {
            self.asked.lock().unwrap().push("smart");
            out.copy_from_slice(&smart_sector());
        }
        Ok(sense)
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
