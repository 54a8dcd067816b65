//! Elements of DER (X.690) one after the other, as far as certificates need them (RFC 5280).

/// `INTEGER`.
pub const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// `BMPString`: UTF-16.
pub const BMP_STRING: u8 = 0x1e;
/// `SEQUENCE`.
pub const SEQUENCE: u8 = 0x30;
/// `SET`.
pub const SET: u8 = 0x31;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Attribute types by their encoding (RFC 4514 §3, and those that are common besides).
static ATTRIBUTES: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// The short name of an attribute of a distinguished name.
#[must_use]
pub fn attribute(object_identifier: &[u8]) -> Option<&'static str> {
    ATTRIBUTES.iter().find(|(known, _)| *known == object_identifier).map(|(_, name)| *name)
}

/// What is left to be read. Lengths of more than three bytes are refused: they would exceed every
/// limit on files and handshakes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads these elements.
    #[must_use]
    pub fn new(der: &'a [u8]) -> Self {
        Self(der)
    }

    /// Nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next element.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element, tag and content.
    pub fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, length], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, which has to have this tag.
    pub fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// The elements within the next one, which has to have this tag.
    pub fn within(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Self)
    }

    /// The next element as a time, in seconds since 1970, 0 for one before: `YYMMDDHHMMSSZ` or
    /// `YYYYMMDDHHMMSSZ`; RFC 5280 §4.1.2.5 allows no other form.
    pub fn time(&mut self) -> Option<u64> {
        let (tag, text) = self.any()?;
        let digits = text.strip_suffix(b"Z")?;
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0_i64, |sum, digit| {
                digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
            })
        };
        let (year, digits) = match tag {
            UTC_TIME => {
                let (year, digits) = digits.split_at_checked(2)?;
                let year = number(year)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, digits)
            }
            GENERALIZED_TIME => {
                let (year, digits) = digits.split_at_checked(4)?;
                (number(year)?, digits)
            }
            _ => return None,
        };
        let fields: Vec<i64> = digits.chunks(2).map(number).collect::<Option<_>>()?;
        let &[month @ 1..=12, day @ 1..=31, hour @ 0..=23, minute @ 0..=59, second @ 0..=60] =
            fields.as_slice()
        else {
            return None;
        };
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        (digits.len() == 10).then_some(u64::try_from(seconds).unwrap_or(0))
    }
}

/// Days from 1970 to a date of the Gregorian calendar, years counted from March so that the leap
/// day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(tag: u8, text: &[u8]) -> Option<u64> {
        let length = u8::try_from(text.len()).unwrap();
        Reader::new(&[&[tag, length], text].concat()).time()
    }

    #[test]
    fn both_forms_of_time() {
        assert_eq!(time(UTC_TIME, b"261120224836Z"), Some(0x6B00_CE44));
        assert_eq!(time(GENERALIZED_TIME, b"20261120224836Z"), Some(0x6B00_CE44));
        assert_eq!(time(UTC_TIME, b"991231235959Z"), Some(946_684_799));
        assert_eq!(time(UTC_TIME, b"2611202248"), None);
    }

    #[test]
    fn days_of_known_dates() {
        for ((year, month, day), expected) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2026, 11, 21), 20_778),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(days(year, month, day), expected, "{year}-{month}-{day}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = Reader::new(&bytes);
            let _ = Reader::new(&bytes).time();
            while reader.any().is_some() {}
        }
    }
}
