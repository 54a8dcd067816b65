//! What devices answer, taken apart.

use serde_json::{Map, Value, json};

/// Whether a disk may be asked more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    Active,
    Standby,
}

/// The SMART / Health log page (NVMe base specification, log page 02h).
pub(crate) fn nvme_health(page: &[u8; 512]) -> Value {
    let byte = |at: usize| page.get(at).copied().unwrap_or(0);
    let kelvin = |at: usize| u16::from_le_bytes([byte(at), byte(at + 1)]);
    let celsius = |kelvin: u16| (kelvin > 0).then(|| i32::from(kelvin) - 273);
    // Counters have 128 bits; the upper half is for disks of the far future.
    let count = |at: usize| {
        let half = |at: usize| {
            page.get(at..at + 8)
                .and_then(|b| b.first_chunk::<8>())
                .map_or(0, |b| u64::from_le_bytes(*b))
        };
        if half(at + 8) == 0 { half(at) } else { u64::MAX }
    };
    let sensors: Vec<i32> = (0..8).filter_map(|n| celsius(kelvin(200 + 2 * n))).collect();
    json!({
        "power": "active", "celsius": celsius(kelvin(1)), "sensors_celsius": sensors,
        "healthy": byte(0) == 0, "critical_warning": byte(0),
        "spare_percent": byte(3), "spare_threshold_percent": byte(4), "used_percent": byte(5),
        // A unit is a thousand blocks of 512 bytes.
        "read_bytes": count(32).saturating_mul(512_000),
        "written_bytes": count(48).saturating_mul(512_000),
        "power_cycles": count(112), "power_on_hours": count(128),
        "unsafe_shutdowns": count(144), "media_errors": count(160),
    })
}

/// Attributes worth a name; the vendor decides about the others.
const ATTRIBUTES: [(u8, &str); 6] = [
    (5, "reallocated_sectors"),
    (9, "power_on_hours"),
    (12, "power_cycles"),
    (197, "pending_sectors"),
    (198, "uncorrectable_sectors"),
    (199, "crc_errors"),
];

/// SMART READ DATA: thirty attributes of twelve bytes. `None` when the sum is wrong.
pub(crate) fn smart_data(sector: &[u8; 512]) -> Option<Value> {
    let sum = sector.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if sum != 0 || sector.iter().all(|byte| *byte == 0) {
        return None;
    }
    let mut members = Map::new();
    members.insert("power".to_owned(), json!("active"));
    let (mut hot, mut airflow) = (None, None);
    for entry in sector.get(2..362)?.chunks_exact(12) {
        let [id, _, _, value, worst, raw @ ..] = entry else { continue };
        let Some(raw) = raw.first_chunk::<6>() else { continue };
        let number = raw.iter().rev().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        // The lowest byte is the temperature; minimum and maximum may stand above it.
        match id {
            194 => hot = plausible(raw[0]),
            190 => airflow = plausible(raw[0]).or_else(|| plausible(100_u8.saturating_sub(*value))),
            _ => {}
        }
        let named = ATTRIBUTES.iter().find(|(known, _)| known == id);
        if let Some((known, name)) = named {
            // Hours may be counted above 32 bits in other units.
            let number = if *known == 9 { number & 0xffff_ffff } else { number };
            members.insert((*name).to_owned(), json!(number));
            members.insert(format!("{name}_normalised"), json!([value, worst]));
        }
    }
    members.insert("celsius".to_owned(), json!(hot.or(airflow)));
    Some(Value::Object(members))
}

fn plausible(celsius: u8) -> Option<u8> {
    (1..=120).contains(&celsius).then_some(celsius)
}

/// The count register in the sense data of CHECK POWER MODE (SAT-4, ATA Status Return).
pub(super) fn power_mode(sense: &[u8]) -> Option<Power> {
    // Descriptor format, and the descriptor of ATA's registers first.
    let format = sense.first()? & 0x7f;
    let ata = sense.get(8) == Some(&0x09) && sense.get(9) == Some(&0x0c);
    if !matches!(format, 0x72 | 0x73) || !ata {
        return None;
    }
    match sense.get(13)? {
        // Standby_z, standby_y
        0x00 | 0x01 => Some(Power::Standby),
        // Active or idle, in all their names
        0x80..=0x83 | 0xff => Some(Power::Active),
        // A cache in front of spinning-down platters
        0x40 => Some(Power::Standby),
        0x41 => Some(Power::Active),
        _ => None,
    }
}

/// The power condition in what REQUEST SENSE reads (SPC-5, 4.4 and table "ASC assignments").
pub(super) fn power_condition(sense: &[u8]) -> Option<Power> {
    // Fixed and descriptor format have them in other places.
    let (code, qualifier) = match sense.first()? & 0x7f {
        0x70 => (*sense.get(12)?, *sense.get(13)?),
        0x72 => (*sense.get(2)?, *sense.get(3)?),
        _ => return None,
    };
    match (code, qualifier) {
        (0, 0) => Some(Power::Active),
        // Idle, in all its names: platters turn.
        (0x5E, 0x01 | 0x03 | 0x05..=0x08) => Some(Power::Active),
        // Standby, in all its names, and a low power condition without a name.
        (0x5E, _) => Some(Power::Standby),
        // Stopped: it waits for START STOP UNIT.
        (0x04, 0x02 | 0x11) => Some(Power::Standby),
        _ => None,
    }
}

/// What a SCSI log page says (SPC-5, 7.3; SBC-4, 6.4), parameter by parameter.
pub(crate) fn log_page(page: u8, bytes: &[u8]) -> Vec<(String, Value)> {
    let Some(([code, _, high, low], rest)) = bytes.split_first_chunk::<4>() else {
        return Vec::new();
    };
    if code & 0x3F != page {
        return Vec::new();
    }
    let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    let mut rest = rest.get(..length).unwrap_or_default();
    let mut found = Vec::new();
    while let Some(([high, low, _, length], more)) = rest.split_first_chunk::<4>() {
        let Some((data, more)) = more.split_at_checked(usize::from(*length)) else { break };
        log_parameter(page, u16::from_be_bytes([*high, *low]), data, &mut found);
        rest = more;
    }
    found
}

fn log_parameter(page: u8, code: u16, data: &[u8], found: &mut Vec<(String, Value)>) {
    const NO_READING: u8 = 0xFF;
    let byte = |at: usize| data.get(at).copied();
    let celsius = |at: usize| byte(at).filter(|celsius| *celsius != NO_READING);
    let mut tell = |name: &str, value: Option<Value>| {
        found.extend(value.map(|value| (name.to_owned(), value)));
    };
    match (page, code) {
        (0x0D, 0) => tell("celsius", celsius(1).map(Into::into)),
        (0x0D, 1) => tell("reference_celsius", celsius(1).map(Into::into)),
        (0x2F, 0) => {
            // The additional sense code of what the disk predicts; none when all is well.
            tell("healthy", byte(0).map(|code| (code == 0).into()));
            let exception = byte(0).filter(|code| *code != 0).zip(byte(1));
            tell("exception", exception.map(|(c, q)| format!("{c:02x}/{q:02x}").into()));
        }
        (0x15, 0) => {
            let minutes = data.first_chunk::<4>().map(|b| u32::from_be_bytes(*b));
            tell("power_on_hours", minutes.map(|minutes| (minutes / 60).into()));
        }
        (0x11, 1) => tell("used_percent", byte(3).map(Into::into)),
        _ => {}
    }
}

/// DCMI's answer: completion code, DCh, then watts now, least, most and on average.
pub(super) fn power_reading(answer: &[u8]) -> Option<Value> {
    let [0, 0xDC, rest @ ..] = answer else { return None };
    let word = |at: usize| {
        rest.get(at..at + 2).and_then(|b| b.first_chunk::<2>()).map(|b| u16::from_le_bytes(*b))
    };
    let active = rest.get(16).is_none_or(|state| state & 0x40 != 0);
    Some(json!({
        "watts": word(0)?, "least_watts": word(2)?, "most_watts": word(4)?,
        "average_watts": word(6)?, "active": active,
    }))
}

/// What `smartctl -j` says about a disk, from a node with an older wrapper: its exit status is a
/// set of flags, and the text is of use whatever it is.
#[cfg_attr(not(any(test, fuzzing)), expect(dead_code, reason = "for nodes with older wrappers"))]
pub(crate) fn smartctl(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    let number = |path: &str| value.pointer(path).and_then(Value::as_i64);
    let messages = value.pointer("/smartctl/messages").and_then(Value::as_array);
    let says_standby = messages.into_iter().flatten().any(|message| {
        let text = message.get("string").and_then(Value::as_str).unwrap_or_default();
        text.contains("STANDBY") || text.contains("SLEEP")
    });
    let mode = value.pointer("/power_mode/name").or_else(|| value.pointer("/power_mode"));
    let mode = mode.and_then(Value::as_str).unwrap_or_default().to_ascii_uppercase();
    let asleep = says_standby || mode.contains("STANDBY") || mode.contains("SLEEP");
    let celsius = number("/temperature/current")
        .or_else(|| number("/nvme_smart_health_information_log/temperature"))
        .filter(|celsius| (-40..=150).contains(celsius));
    value.is_object().then(|| {
        json!({
            "disk": value.pointer("/device/name"), "model": value.pointer("/model_name"),
            "serial": value.pointer("/serial_number"), "celsius": celsius,
            "power": if asleep { "asleep" } else { "active" },
            "healthy": value.pointer("/smart_status/passed"),
        })
    })
}
