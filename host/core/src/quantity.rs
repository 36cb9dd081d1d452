//! Durations and sizes as operators write them: a whole number and one unit, `90s` or `64MiB`.

use std::time::Duration;

/// Reads `100ms`, `90s`, `10m` or `1h`; `None` when `text` is not of that form or does not fit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// Reads `512KiB`, `64MiB`, `1GiB`, or `4096` and `4096B` as plain bytes; `None` when `text` is not of that form or
/// does not fit.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Writes a duration so that [`parse_duration`] reads it back; below a millisecond it is cut off.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_millis() != 0 {
        format!("{}ms", duration.as_millis())
    } else if seconds != 0 && seconds.is_multiple_of(3600) {
        format!("{}h", seconds / 3600)
    } else if seconds != 0 && seconds.is_multiple_of(60) {
        format!("{}m", seconds / 60)
    } else {
        format!("{seconds}s")
    }
}

/// Writes a size so that [`parse_size`] reads it back.
pub fn format_size(bytes: u64) -> String {
    for (factor, unit) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes != 0 && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    format!("{bytes}B")
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit() {
        for (text, milliseconds) in [("100ms", 100), ("90s", 90_000), ("10m", 600_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "90", "s", "-1s", "+1s", "1.5s", "1h30m", "90 s", "90S", "1d", "18446744073709551615h", "٣s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1GiB", 1 << 30), ("512KiB", 512 << 10), ("7", 7), ("7B", 7)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "64MB", "64 MiB", "64mib", "-1", "1.5GiB", "18446744073709551615KiB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["100ms", "90s", "10m", "1h", "0s", "1500ms"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        for text in ["64MiB", "1GiB", "512KiB", "7B", "0B"] {
            assert_eq!(format_size(parse_size(text).unwrap()), text);
        }
    }
}
