//! How large and how old what is in a store may become, and how people write that.
//!
//! Knows nothing of how it is kept to.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// The bounds of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all blobs.
    pub size: u64,
    /// Time since a blob was last of use.
    pub age: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { size: 10_000_000_000, age: None }
    }
}

/// A number of bytes: `10GB`, `512MiB`, `0`. A unit that is forgotten would empty a store, so there is none that goes without saying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// A time: `30d`, `12h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age(pub Duration);

/// A text is no size, or no age.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseLimitError {
    /// It cannot be read at all.
    #[error("`{text}` is no {what}; write it as `{example}`")]
    Unreadable {
        /// The text.
        text: String,
        /// What it should be.
        what: &'static str,
        /// How such a thing looks.
        example: &'static str,
    },
    /// A number alone.
    #[error("`{number}` has no unit; write it as `{number}{unit}`, or with another unit")]
    NoUnit {
        /// The number.
        number: String,
        /// The most usual unit.
        unit: &'static str,
    },
}

const BYTES: [(&str, u64); 8] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

const SECONDS: [(&str, u64); 5] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)];

/// Why a text is no limit; `example` ends with the most usual unit.
fn wrong(text: &str, what: &'static str, example: &'static str) -> ParseLimitError {
    let is_number = |text: &str| text.parse::<f64>().is_ok() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    match text.trim() {
        number if is_number(number) => {
            ParseLimitError::NoUnit { number: number.to_owned(), unit: example.trim_start_matches(|c: char| c.is_ascii_digit()) }
        }
        _ => ParseLimitError::Unreadable { text: text.to_owned(), what, example },
    }
}

/// A number, perhaps with a fraction, and a unit, which nothing needs not.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    let scaled = match number.parse::<u64>() {
        Ok(whole) => return whole.checked_mul(*factor),
        Err(_) => number.parse::<f64>().ok()? * *factor as f64,
    };
    (scaled < u64::MAX as f64).then_some(scaled as u64)
}

impl FromStr for Size {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Size, ParseLimitError> {
        scaled(text.trim(), &BYTES).map(Size).ok_or_else(|| wrong(text, "size", "10GB"))
    }
}

impl FromStr for Age {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Age, ParseLimitError> {
        let seconds = scaled(text.trim(), &SECONDS).ok_or_else(|| wrong(text, "age", "30d"))?;
        Ok(Age(Duration::from_secs(seconds)))
    }
}

/// In the unit people would choose: `1.5 GB`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = BYTES[1..5].iter().rev().find(|(_, factor)| self.0 >= *factor);
        match unit {
            Some((name, factor)) => write!(f, "{:.1} {name}", self.0 as f64 / *factor as f64),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Age, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_read_as_people_write_them() {
        let sizes = [("0", 0), ("12 B", 12), ("10GB", 10_000_000_000), ("1.5 kb", 1_500), ("2MiB", 2 << 20), (" 3 B ", 3)];
        sizes.iter().for_each(|(text, bytes)| assert_eq!(text.parse(), Ok(Size(*bytes)), "{text}"));
        let ages = [("30d", 30 * 86_400), ("12h", 43_200), ("0.5m", 30), ("1w", 604_800)];
        ages.iter().for_each(|(text, seconds)| assert_eq!(text.parse(), Ok(Age(Duration::from_secs(*seconds))), "{text}"));
        for bad in ["", "GB", "10 apples", "-1GB", "1e9", "99999999999TB", "1..2GB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert_eq!("10d ago".parse::<Age>().unwrap_err().to_string(), "`10d ago` is no age; write it as `30d`");
        let shown = [(0, "0 bytes"), (999, "999 bytes"), (1_500, "1.5 KB"), (10_000_000_000, "10.0 GB")];
        shown.iter().for_each(|(bytes, text)| assert_eq!(Size(*bytes).to_string(), *text));
    }

    /// Somebody wrote `max_size = "10"`, meant gigabytes, and lost the cache of all workspaces.
    #[test]
    fn a_number_without_a_unit_is_no_limit() {
        let said = |error: ParseLimitError| error.to_string();
        let size = |text: &str| text.parse::<Size>().map_err(said);
        assert_eq!(size("10"), Err("`10` has no unit; write it as `10GB`, or with another unit".to_owned()));
        assert_eq!(size(" 1.5 "), Err("`1.5` has no unit; write it as `1.5GB`, or with another unit".to_owned()));
        assert_eq!(size("0"), Ok(Size(0)));
        let age = "30".parse::<Age>().map_err(said);
        assert_eq!(age, Err("`30` has no unit; write it as `30d`, or with another unit".to_owned()));
    }
}
