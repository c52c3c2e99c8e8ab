//! Points in time. They are always arguments: nothing here reads a clock.

use std::time::Duration;

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

const RFC3339_MILLIS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The largest time that a ULID can carry (48 bits).
    pub const MAX: Self = Self((1 << 48) - 1);

    /// Makes a timestamp from Unix milliseconds.
    #[must_use]
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Unix milliseconds.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// Whole Unix seconds, rounded down.
    #[must_use]
    pub const fn unix_s(self) -> u64 {
        self.0 / 1_000
    }

    /// This time plus `by`, capped at [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)).min(Self::MAX.0))
    }

    /// This time minus `by`, or the epoch.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }

    /// How long ago `earlier` was; zero if it is in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// How many milliseconds this time is after another one; negative if it is before.
    #[must_use]
    pub fn ms_after(self, other: Self) -> i64 {
        let apart = i64::try_from(self.0.abs_diff(other.0)).unwrap_or(i64::MAX);
        if self >= other { apart } else { -apart }
    }

    /// RFC 3339 in UTC with milliseconds: `2026-01-31T12:00:00.123Z`.
    ///
    /// Years after 9999, which no real clock shows, are written as the end of 9999.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let seconds = i64::try_from(self.unix_s()).unwrap_or(i64::MAX);
        let Ok(at) = OffsetDateTime::from_unix_timestamp(seconds) else {
            return "9999-12-31T23:59:59.999Z".to_owned();
        };
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second) = at.to_hms();
        // Not `format`, which takes a tenth of the time of a page: every message has its time.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        write_digits(&mut text[..4], u64::from(year.unsigned_abs()));
        write_digits(&mut text[5..7], u8::from(month).into());
        write_digits(&mut text[8..10], day.into());
        write_digits(&mut text[11..13], hour.into());
        write_digits(&mut text[14..16], minute.into());
        write_digits(&mut text[17..19], second.into());
        write_digits(&mut text[20..23], self.0 % 1_000);
        str::from_utf8(&text).unwrap_or_default().to_owned()
    }

    /// Parses the form that [`Timestamp::rfc3339`] writes.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at = PrimitiveDateTime::parse(text, RFC3339_MILLIS).ok()?.assume_utc();
        u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().map(Self)
    }
}

/// Writes a number over the digits in `text`, with leading zeros.
fn write_digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_has_milliseconds_and_utc() {
        assert_eq!(Timestamp::from_unix_ms(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            Timestamp::from_unix_ms(1_767_225_599_007).rfc3339(),
            "2025-12-31T23:59:59.007Z"
        );
        assert_eq!(Timestamp::MAX.rfc3339(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_is_written_is_parsed() {
        let leap_day = 1_709_210_096_789;
        assert_eq!(Timestamp::from_unix_ms(leap_day).rfc3339(), "2024-02-29T12:34:56.789Z");
        // Some time of every 29th day until the end of 9999.
        let days = (0..253_402_300_800_000).step_by(29 * 86_400_000 + 12_345_678);
        for ms in days.chain([leap_day, 1_767_225_599_007, 253_402_300_799_999]) {
            let at = Timestamp::from_unix_ms(ms);
            assert_eq!(Timestamp::parse_rfc3339(&at.rfc3339()), Some(at));
        }
        for bad in ["", "2026-01-31", "2026-01-31T12:00:00Z", "1969-12-31T23:59:59.999Z"] {
            assert_eq!(Timestamp::parse_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::MAX.plus(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(Timestamp::from_unix_ms(5).minus(Duration::from_secs(1)).unix_ms(), 0);
    }
}
