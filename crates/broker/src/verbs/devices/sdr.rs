//! Sensors of the baseboard controller, as its own repository describes them.
//!
//! Intelligent Platform Management Interface 2.0: Reserve SDR Repository (33.11), Get SDR (33.12),
//! Get Sensor Reading (35.14), full sensor records (43.1), and the formula of 36.3. Compact records
//! hold states and no values; they are passed over.

use std::time::Instant;

use serde_json::{Value, json};

use crate::limits::{IPMI_RECORDS, IPMI_TOTAL};

/// Asks the controller: function, command, data. The answer begins with the completion code.
pub(super) type Ask<'a> = dyn Fn(u8, u8, &[u8]) -> std::io::Result<Vec<u8>> + 'a;

const STORAGE: u8 = 0x0A;
const SENSOR: u8 = 0x04;
const RESERVE: u8 = 0x22;
const GET_RECORD: u8 = 0x23;
const GET_READING: u8 = 0x2D;

/// A full sensor record.
const FULL: u8 = 0x01;
/// After the last record, and before the first.
const LAST: u16 = 0xFFFF;
/// Bytes of a record asked for at once: every controller gives so many.
const PART: u8 = 16;
/// The head of a record: id, version, kind, length of the rest.
const HEAD: u8 = 5;

/// Every sensor with a value; `None` where there is no repository.
pub(super) fn read(ask: &Ask<'_>) -> Option<Vec<Value>> {
    let until = Instant::now() + IPMI_TOTAL;
    let mut sensors = Vec::new();
    let mut id = 0;
    for _ in 0..IPMI_RECORDS {
        // A record that can not be read hides those behind it: what is there is answered.
        let Some((next, record)) = record(ask, id) else { break };
        if let Some(sensor) = Sensor::of(&record) {
            sensors.push(sensor.shown(reading(ask, sensor.number)));
        }
        if next == LAST || next == id || Instant::now() >= until {
            break;
        }
        id = next;
    }
    (id != 0 || !sensors.is_empty()).then_some(sensors)
}

/// A record and the id of the next. In parts, under one reservation: a repository that changes
/// meanwhile refuses the rest.
fn record(ask: &Ask<'_>, id: u16) -> Option<(u16, Vec<u8>)> {
    let reservation = done(&ask(STORAGE, RESERVE, &[]).ok()?)?;
    let reservation = *reservation.first_chunk::<2>()?;
    let part = |offset: u8, count: u8| {
        let [low, high] = id.to_le_bytes();
        let data = [reservation[0], reservation[1], low, high, offset, count];
        let answer = done(&ask(STORAGE, GET_RECORD, &data).ok()?)?;
        let next = u16::from_le_bytes(*answer.first_chunk::<2>()?);
        Some((next, answer.get(2..)?.to_vec()))
    };
    let (next, mut record) = part(0, HEAD)?;
    let length = HEAD.saturating_add(*record.get(4)?);
    while let Ok(have) = u8::try_from(record.len())
        && have < length
    {
        let (_, more) = part(have, PART.min(length - have))?;
        if more.is_empty() {
            return None;
        }
        record.extend(more);
    }
    Some((next, record))
}

/// The raw value; `None` when the sensor says that there is none.
fn reading(ask: &Ask<'_>, number: u8) -> Option<u8> {
    const UNAVAILABLE: u8 = 0x20;
    const SCANNING: u8 = 0x40;
    let answer = done(&ask(SENSOR, GET_READING, &[number]).ok()?)?;
    let (raw, state) = (*answer.first()?, *answer.get(1)?);
    (state & SCANNING != 0 && state & UNAVAILABLE == 0).then_some(raw)
}

/// What is behind a completion code that says done.
fn done(answer: &[u8]) -> Option<Vec<u8>> {
    let (code, rest) = answer.split_first()?;
    (*code == 0).then(|| rest.to_vec())
}

/// What a record says about its sensor.
#[derive(Clone, Debug, PartialEq)]
struct Sensor {
    number: u8,
    name: String,
    kind: u8,
    unit: &'static str,
    /// How raw values are signed: 0 unsigned, 1 ones' complement, 2 two's complement.
    format: u8,
    m: f64,
    b: f64,
    b_exponent: i32,
    exponent: i32,
}

impl Sensor {
    /// Of a full record whose values are linear; others need tables of their own.
    fn of(record: &[u8]) -> Option<Self> {
        let byte = |at: usize| record.get(at).copied();
        if byte(3)? != FULL || byte(23)? & 0x7F != 0 {
            return None;
        }
        let format = byte(20)? >> 6;
        // 3: it has no value.
        if format == 3 {
            return None;
        }
        let ten = |low: u8, high: u8| signed(u16::from(low) | u16::from(high >> 6) << 8, 10);
        let exponents = byte(29)?;
        let length = usize::from(byte(47)? & 0x1F);
        let name = record.get(48..48 + length)?;
        let plain = |b: &u8| (b' '..=b'~').contains(b);
        let name: String = name.iter().filter(|b| plain(b)).map(|b| char::from(*b)).collect();
        Some(Self {
            number: byte(7)?,
            name: name.trim().to_owned(),
            kind: byte(12)?,
            unit: unit(byte(21)?),
            format,
            m: ten(byte(24)?, byte(25)?).into(),
            b: ten(byte(26)?, byte(27)?).into(),
            b_exponent: signed(u16::from(exponents & 15), 4),
            exponent: signed(u16::from(exponents >> 4), 4),
        })
    }

    /// (M x + B 10^K1) 10^K2
    fn value(&self, raw: u8) -> f64 {
        let x = match self.format {
            1 if raw > 127 => -f64::from(!raw),
            2 => f64::from(raw.cast_signed()),
            _ => f64::from(raw),
        };
        (self.m * x + self.b * 10_f64.powi(self.b_exponent)) * 10_f64.powi(self.exponent)
    }

    fn shown(&self, raw: Option<u8>) -> Value {
        let value = raw.map(|raw| (self.value(raw) * 1000.0).round() / 1000.0);
        json!({
            "name": self.name, "number": self.number, "kind": kind(self.kind), "unit": self.unit,
            "value": value, "reason": value.is_none().then_some("the sensor has no reading now"),
        })
    }
}

/// A number of so many bits, in two's complement.
fn signed(value: u16, bits: u32) -> i32 {
    let value = i32::from(value);
    if value >> (bits - 1) & 1 == 1 { value - (1 << bits) } else { value }
}

/// Table 42-3, as far as there are values of it.
fn kind(kind: u8) -> &'static str {
    match kind {
        0x01 => "temperature",
        0x02 => "voltage",
        0x03 => "current",
        0x04 => "fan",
        0x08 => "power_supply",
        0x0B => "other",
        _ => "unknown",
    }
}

/// Table 43-15, likewise.
fn unit(unit: u8) -> &'static str {
    match unit {
        1 => "C",
        2 => "F",
        3 => "K",
        4 => "V",
        5 => "A",
        6 => "W",
        7 => "J",
        18 => "RPM",
        19 => "Hz",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A full record: number, kind, unit, format, M, B, exponents, name.
    fn full(number: u8, unit: u8, format: u8, m: u8, exponents: u8, name: &str) -> Vec<u8> {
        let mut record = vec![0; 48];
        (record[3], record[7], record[12]) = (FULL, number, 0x01);
        (record[20], record[21], record[24], record[29]) = (format << 6, unit, m, exponents);
        record[47] = 0xC0 | u8::try_from(name.len()).unwrap();
        record.extend(name.bytes());
        record[4] = u8::try_from(record.len() - 5).unwrap();
        record
    }

    /// A controller with these records, whose sensors read 0x1E, or nothing for number 9.
    fn controller(records: &[Vec<u8>]) -> Option<Vec<Value>> {
        read(&|function, command, data| {
            Ok(match (function, command) {
                (STORAGE, RESERVE) => vec![0, 7, 0],
                (STORAGE, GET_RECORD) => {
                    let at = usize::from(data[2]);
                    let Some(record) = records.get(at) else { return Ok(vec![0xCB]) };
                    let next = if at + 1 == records.len() { LAST } else { u16::from(data[2]) + 1 };
                    let (from, count) = (usize::from(data[4]), usize::from(data[5]));
                    assert!((data[0], count <= 16) == (7, true));
                    let part = &record[from..(from + count).min(record.len())];
                    [&[0], &next.to_le_bytes()[..], part].concat()
                }
                (SENSOR, GET_READING) if data[0] == 9 => vec![0, 0, 0xE0],
                (SENSOR, GET_READING) => vec![0, 0x1E, 0xC0],
                _ => vec![0xC1],
            })
        })
    }

    #[test]
    fn values_by_the_records_formula() {
        let compact = {
            let mut record = full(5, 0, 0, 1, 0, "Fan present");
            record[3] = 0x02;
            record
        };
        let records = [
            full(1, 1, 0, 1, 0, "CPU Temp"),
            compact,
            full(2, 4, 0, 59, 0xD0, "12V"),
            full(3, 18, 0, 100, 0, "FAN1"),
            full(9, 1, 0, 1, 0, "DIMM B1"),
            full(4, 1, 2, 255, 0, "below 0"),
        ];
        let sensors = controller(&records).unwrap();
        let row = |at: usize| (sensors[at]["name"].clone(), sensors[at]["value"].clone());
        assert_eq!(row(0), (json!("CPU Temp"), json!(30.0)));
        assert_eq!((row(1), &sensors[1]["unit"]), ((json!("12V"), json!(1.77)), &json!("V")));
        assert_eq!(row(2), (json!("FAN1"), json!(3000.0)));
        assert_eq!((row(3), sensors.len()), ((json!("DIMM B1"), Value::Null), 5));
        assert!(sensors[3]["reason"].is_string());
    }

    #[test]
    fn signs() {
        assert_eq!((signed(0x3FF, 10), signed(0x1FF, 10), signed(0xD, 4)), (-1, 511, -3));
        let one = Sensor::of(&full(1, 1, 1, 1, 0, "x")).unwrap();
        let two = Sensor::of(&full(1, 1, 2, 1, 0, "x")).unwrap();
        assert_eq!((one.value(0xFE), two.value(0xFE), two.value(0x7F)), (-1.0, -2.0, 127.0));
        assert_eq!(controller(&[]), None);
    }

    proptest! {
        #[test]
        fn any_record_is_judged(record in proptest::collection::vec(any::<u8>(), 0..80), raw: u8) {
            if let Some(sensor) = Sensor::of(&record) {
                prop_assert!(sensor.value(raw).is_finite());
            }
        }
    }
}
