//! Wall-clock time as RFC 3339 text, with the second that is written most of the time kept ready.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-11-24T12:34:56.`
const LENGTH: usize = 20;

/// Remembers the last second it wrote.
pub(crate) struct Clock {
    second: u64,
    text: [u8; LENGTH],
}

impl Clock {
    /// Knows the first second of 1970.
    pub(crate) fn new() -> Self {
        Self { second: 0, text: text_of(0) }
    }

    /// Writes `2026-11-24T12:34:56.789Z`.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        // A clock before 1970 is wrong whatever is written.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if since.as_secs() != self.second {
            *self = Self { second: since.as_secs(), text: text_of(since.as_secs()) };
        }
        out.extend_from_slice(&self.text);
        let millis = since.subsec_millis();
        out.extend_from_slice(&[digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
    }
}

/// `2026-11-24T12:34:56.789Z`, where speed does not matter.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let mut out = Vec::with_capacity(LENGTH + 4);
    Clock::new().write(&mut out, time);
    out.iter().map(|byte| char::from(*byte)).collect()
}

/// The text of a second since 1970, up to and with the point.
fn text_of(second: u64) -> [u8; LENGTH] {
    let (days, of_day) = (second / 86_400, (second % 86_400) as u32);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let two = |value: u32| [digit(value / 10), digit(value)];
    let ([y1, y2], [y3, y4]) = (two(year / 100), two(year));
    let ([m1, m2], [d1, d2], [h1, h2], [i1, i2], [s1, s2]) =
        (two(month), two(day), two(hour), two(minute), two(second));
    [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2, b'.']
}

/// Year, month and day of a day since 1970. Years are counted from March, so that a leap day is a year's last.
fn date(days: u64) -> (u32, u32, u32) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year as u32, month as u32, day as u32)
}

fn digit(value: u32) -> u8 {
    b'0' + (value % 10) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times() {
        let at = |seconds, millis| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400, 7), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(1_795_523_696, 789), "2026-11-24T12:34:56.789Z");
    }

    proptest! {
        #[test]
        fn agrees_with_http_dates(seconds in 0u64..253_402_300_800, again in 0u64..253_402_300_800) {
            let mut clock = Clock::new();
            for second in [seconds, again, again] {
                let time = UNIX_EPOCH + Duration::from_secs(second);
                let mut out = Vec::new();
                clock.write(&mut out, time);
                let text = String::from_utf8(out).unwrap();
                // `Tue, 24 Nov 2026 12:34:56 GMT`
                let http = httpdate::fmt_http_date(time);
                let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
                let month = months.find(&http[8..11]).unwrap() / 3 + 1;
                let wanted = format!("{}-{month:02}-{}T{}.000Z", &http[12..16], &http[5..7], &http[17..25]);
                prop_assert_eq!(text, wanted);
            }
        }
    }
}
