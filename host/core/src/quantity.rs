//! Durations and sizes as people write them (`90s`, `1h 30m`, `64MiB`), by `humantime` and `bytesize`.

use std::time::Duration;

use bytesize::ByteSize;
pub use humantime::format_duration;

/// Longest text of a duration, in bytes.
const LONGEST: usize = 64;
/// Most digits of a number in it.
const MOST_DIGITS: usize = 10;

/// Reads `100ms`, `90s`, `1h 30m` or `1.5h`; `None` when `text` is no duration, or is longer than any needs to be.
pub fn parse_duration(text: &str) -> Option<Duration> {
    // humantime panics where the seconds are u64::MAX and the rest carries over. Six times 10^10 years are less. It
    // leaves out white space between digits.
    let numbers = text.split(|c: char| !c.is_ascii_digit() && !c.is_whitespace());
    let digits = numbers.map(|number| number.bytes().filter(u8::is_ascii_digit).count()).max();
    if text.len() > LONGEST || digits > Some(MOST_DIGITS) { None } else { humantime::parse_duration(text).ok() }
}

/// Reads `512KiB`, `64 MiB`, `1.5GiB`, `64MB` (decimal), or `4096` as plain bytes; `None` when `text` is no size. What
/// does not fit is [`u64::MAX`].
pub fn parse_size(text: &str) -> Option<u64> {
    text.parse::<ByteSize>().ok().map(|size| size.as_u64())
}

/// Writes a size as in a configuration, `64MiB`: [`parse_size`] reads exactly it back.
pub fn format_size(bytes: u64) -> String {
    exact(bytes, 3).map_or_else(|| format!("{bytes}B"), |text| text.replace(' ', ""))
}

/// Writes a size for people, to one decimal: `64 MiB`.
pub fn format_rough_size(bytes: u64) -> String {
    exact(bytes, 0).unwrap_or_else(|| with_decimals(bytes, 1))
}

/// With as few decimals as say it exactly, if so many do.
fn exact(bytes: u64, most_decimals: usize) -> Option<String> {
    (0..=most_decimals).map(|decimals| with_decimals(bytes, decimals)).find(|text| parse_size(text) == Some(bytes))
}

fn with_decimals(bytes: u64, decimals: usize) -> String {
    format!("{:.decimals$}", ByteSize(bytes).display().iec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, milliseconds) in [
            ("100ms", 100),
            ("90s", 90_000),
            ("90 s", 90_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("1h 30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in [
            "",
            "90",
            "s",
            "-1s",
            "+1s",
            "90S",
            "18446744073709551615h",
            "18446744073709551615s1000ms",
            "1844674407 3709551615s1000ms",
            "٣s",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("512KiB", 512 << 10),
            ("64MB", 64_000_000),
            ("7", 7),
            ("7B", 7),
            ("18446744073709551615KiB", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "MiB", "64XB", "-1", "1.5", "1..5GiB", "1e3"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_short() {
        let texts = ["64MiB", "1GiB", "1.5MiB", "7B", "0B", "100000000B"];
        assert_eq!(texts.map(|text| format_size(parse_size(text).unwrap())), texts);
        assert_eq!([1023, 64 << 20, 100_000_000].map(format_rough_size), ["1023 B", "64 MiB", "95.4 MiB"]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number in any::<u64>(), shift in 0..64_u32, text in ".*") {
            let bytes = number >> shift;
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
            let duration = Duration::from_millis(u64::from(number as u32));
            prop_assert_eq!(parse_duration(&format_duration(duration).to_string()), Some(duration));
            let _ = (parse_size(&text), parse_duration(&text));
        }

        #[test]
        fn no_number_makes_it_panic(text in "([0-9]{1,20}\\.?[0-9]{0,3} ?(s|ms|us|ns|y|w|KiB|EB|)){1,3}") {
            let _ = (parse_size(&text), parse_duration(&text));
        }
    }
}
