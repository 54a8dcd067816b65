//! Sensors of the baseboard controller, as its own repository describes them.
//!
//! Intelligent Platform Management Interface 2.0: Reserve SDR Repository (33.11), Get SDR (33.12),
//! Get Sensor Reading (35.14), Get Sensor Reading Factors (35.5), full sensor records (43.1), and the
//! formulae of 36.3 and 36.5. Compact records hold states and no values; they are passed over.

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
const GET_FACTORS: u8 = 0x23;

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
            let raw = reading(ask, sensor.number);
            let value = raw.and_then(|raw| {
                let factors = match sensor.curve {
                    Curve::Factors => factors(ask, sensor.number, raw)?,
                    Curve::Function(_) => sensor.factors,
                };
                sensor.value(raw, factors)
            });
            sensors.push(sensor.shown(raw.is_some(), value));
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

/// The factors that hold for one raw value of a sensor without one formula.
fn factors(ask: &Ask<'_>, number: u8, raw: u8) -> Option<Factors> {
    let answer = done(&ask(SENSOR, GET_FACTORS, &[number, raw]).ok()?)?;
    // The next raw value with other factors, then as in a record.
    Factors::of(answer.get(1..)?)
}

/// What is behind a completion code that says done.
fn done(answer: &[u8]) -> Option<Vec<u8>> {
    let (code, rest) = answer.split_first()?;
    (*code == 0).then(|| rest.to_vec())
}

/// What a record says about its sensor.
#[derive(Clone, Debug)]
struct Sensor {
    number: u8,
    name: String,
    kind: u8,
    unit: &'static str,
    /// How raw values are signed: 0 unsigned, 1 ones' complement, 2 two's complement.
    format: u8,
    factors: Factors,
    curve: Curve,
}

/// M, B, K1 and K2.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Factors {
    m: f64,
    b: f64,
    b_exponent: i32,
    exponent: i32,
}

/// What the linear formula's result goes through.
#[derive(Clone, Copy, Debug)]
enum Curve {
    Function(fn(f64) -> f64),
    /// Linear, with other factors for each raw value.
    Factors,
}

/// Table 43-1, byte 24: the functions by their number.
const CURVES: [fn(f64) -> f64; 12] = [
    |x| x,
    f64::ln,
    f64::log10,
    f64::log2,
    f64::exp,
    |x| 10_f64.powf(x),
    f64::exp2,
    f64::recip,
    |x| x.powi(2),
    |x| x.powi(3),
    f64::sqrt,
    f64::cbrt,
];

impl Curve {
    fn of(code: u8) -> Option<Self> {
        match code & 0x7F {
            0x70..=0x7F => Some(Self::Factors),
            code => CURVES.get(usize::from(code)).copied().map(Self::Function),
        }
    }
}

impl Factors {
    /// Six bytes: M and tolerance, B and accuracy, exponents.
    fn of(bytes: &[u8]) -> Option<Self> {
        let [m, m_high, b, b_high, _, exponents, ..] = *bytes else { return None };
        let ten = |low: u8, high: u8| signed(u16::from(low) | u16::from(high >> 6) << 8, 10);
        Some(Self {
            m: ten(m, m_high).into(),
            b: ten(b, b_high).into(),
            b_exponent: signed(u16::from(exponents & 15), 4),
            exponent: signed(u16::from(exponents >> 4), 4),
        })
    }
}

impl Sensor {
    /// Of a full record with values.
    fn of(record: &[u8]) -> Option<Self> {
        let byte = |at: usize| record.get(at).copied();
        if byte(3)? != FULL {
            return None;
        }
        let curve = Curve::of(byte(23)?)?;
        let format = byte(20)? >> 6;
        // 3: it has no value.
        if format == 3 {
            return None;
        }
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
            factors: Factors::of(record.get(24..)?)?,
            curve,
        })
    }

    /// L((M x + B 10^K1) 10^K2); `None` where the function has no value.
    fn value(&self, raw: u8, factors: Factors) -> Option<f64> {
        let x = match self.format {
            1 if raw > 127 => -f64::from(!raw),
            2 => f64::from(raw.cast_signed()),
            _ => f64::from(raw),
        };
        let Factors { m, b, b_exponent, exponent } = factors;
        let linear = (m * x + b * 10_f64.powi(b_exponent)) * 10_f64.powi(exponent);
        let value = match self.curve {
            Curve::Function(function) => function(linear),
            Curve::Factors => linear,
        };
        // Beyond that the thousandths are no longer there, and JSON has no infinity.
        (value.abs() < 1e12).then(|| (value * 1000.0).round() / 1000.0)
    }

    fn shown(&self, read: bool, value: Option<f64>) -> Value {
        let reason = match (value, read) {
            (Some(_), _) => None,
            (None, true) => Some("the sensor's formula has no value for its reading"),
            (None, false) => Some("the sensor has no reading now"),
        };
        json!({
            "name": self.name, "number": self.number, "kind": kind(self.kind), "unit": self.unit,
            "value": value, "reason": reason,
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
                // Twice the raw value, less 1.
                (SENSOR, GET_FACTORS) if data == [7, 0x1E] => vec![0, 0x20, 2, 0, 0xFF, 0xC0, 0, 0],
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
    fn values_that_are_not_linear() {
        let with = |number: u8, code: u8| {
            let mut record = full(number, 18, 0, 1, 0, "x");
            record[23] = code;
            record
        };
        // 30 through each function of the table.
        let expected = [
            30.0,
            3.401,
            1.477,
            4.907,
            10_686_474_581_524.463,
            1e30,
            1_073_741_824.0,
            0.033,
            900.0,
            27_000.0,
            5.477,
            3.107,
        ];
        let records: Vec<_> = (0..12).map(|code| with(1, code)).collect();
        let sensors = controller(&records).unwrap();
        assert_eq!(sensors.len(), expected.len());
        for (sensor, expected) in sensors.iter().zip(expected) {
            let expected = if expected < 1e12 { json!(expected) } else { Value::Null };
            assert_eq!(sensor["value"], expected);
            assert_eq!(sensor["reason"].is_null(), !expected.is_null());
        }
        let sensors = controller(&[with(7, 0x70), with(8, 0x7F), with(1, 0x0C)]).unwrap();
        assert_eq!((sensors.len(), &sensors[0]["value"]), (2, &json!(59.0)));
        assert!(sensors[1]["reason"].as_str().unwrap().contains("formula"), "no factors given");
    }

    #[test]
    fn signs() {
        assert_eq!((signed(0x3FF, 10), signed(0x1FF, 10), signed(0xD, 4)), (-1, 511, -3));
        let one = Sensor::of(&full(1, 1, 1, 1, 0, "x")).unwrap();
        let two = Sensor::of(&full(1, 1, 2, 1, 0, "x")).unwrap();
        let value = |sensor: &Sensor, raw| sensor.value(raw, sensor.factors).unwrap();
        assert_eq!((value(&one, 0xFE), value(&two, 0xFE), value(&two, 0x7F)), (-1.0, -2.0, 127.0));
        assert_eq!(controller(&[]), None);
    }

    proptest! {
        #[test]
        fn any_record_is_judged(record in proptest::collection::vec(any::<u8>(), 0..80), raw: u8) {
            if let Some(sensor) = Sensor::of(&record) {
                let value = sensor.value(raw, sensor.factors);
                prop_assert!(value.is_none_or(f64::is_finite));
            }
        }
    }
}
