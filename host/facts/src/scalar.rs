//! What an unquoted YAML word means. It is what `kubectl` makes of it, so that a file here and the same file sent
//! through the Kubernetes API give a policy the same value. kubectl follows YAML 1.1 with one exception: numbers to
//! the base of 60 don't exist, `32768:65535` is a string. So `yes`, `no`, `on`, `off`, `y` and `n` are booleans,
//! `0755` is octal, `1_000` is a thousand, `3.10` is 3.1, a date is a string.
//! (sigs.k8s.io/yaml, goyaml.v2/resolve.go)

use serde_json::{Number, Value};

/// Largest float below which all whole numbers are exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The value of an unquoted word; `None` for the infinities and not-a-number, which JSON doesn't have.
pub(super) fn resolve(word: &str) -> Option<Value> {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Some(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Some(Value::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" => return None,
        _ => {}
    }
    if matches!(word.strip_prefix(['+', '-']).unwrap_or(word), ".inf" | ".Inf" | ".INF") {
        return None;
    }
    if !word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Some(Value::String(word.to_owned()));
    }
    // After a point, underscores don't count as part of a number.
    let plain = if word.starts_with('.') { word.to_owned() } else { word.replace('_', "") };
    let number = integer(&plain).or_else(|| float(&plain));
    Some(number.map_or_else(|| Value::String(word.to_owned()), Value::Number))
}

/// A whole number with Go's prefixes: `0x`, `0o`, `0b`, and `0` for octal.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match prefix.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(_) if digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    // Rust would take a second sign.
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    if negative {
        return i64::from_str_radix(&format!("-{digits}"), radix).ok().map(Number::from);
    }
    u64::from_str_radix(digits, radix).ok().map(Number::from)
}

/// A decimal fraction. Whole ones become whole numbers, as in the JSON that the Kubernetes API answers with.
fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mantissa_end = unsigned.find(['e', 'E']).unwrap_or(unsigned.len());
    let (mantissa, exponent) = unsigned.split_at(mantissa_end);
    let has_digits = mantissa.bytes().any(|byte| byte.is_ascii_digit());
    let only_digits = mantissa.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let exponent_fits = exponent.is_empty() || {
        let digits = exponent[1..].strip_prefix(['+', '-']).unwrap_or(&exponent[1..]);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !has_digits || !only_digits || !exponent_fits {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    if number.fract() == 0.0 && number.abs() < EXACT {
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_mean_what_kubectl_makes_of_them() {
        for (word, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("yes", json!(true)),
            ("on", json!(true)),
            ("Off", json!(false)),
            ("yEs", json!("yEs")),
            ("Enabled", json!("Enabled")),
            ("Never", json!("Never")),
            ("32768:65535", json!("32768:65535")),
            ("12:30:45", json!("12:30:45")),
            ("10.0.0.0/8", json!("10.0.0.0/8")),
            ("10.0.0.1", json!("10.0.0.1")),
            ("fd00::/8", json!("fd00::/8")),
            ("3.10", json!(3.1)),
            ("v3.28.2", json!("v3.28.2")),
            ("2001-01-01", json!("2001-01-01")),
            ("26", json!(26)),
            ("-7", json!(-7)),
            ("+7", json!(7)),
            ("0", json!(0)),
            ("0755", json!(493)),
            ("089", json!(89)),
            ("0x1F", json!(31)),
            ("0b11", json!(3)),
            ("0o17", json!(15)),
            ("1_000", json!(1000)),
            ("1e3", json!(1000)),
            (".5", json!(0.5)),
            ("1.", json!(1)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("1e999", json!("1e999")),
            ("+-1", json!("+-1")),
            ("0x", json!("0x")),
            ("0x-1", json!("0x-1")),
            ("-", json!("-")),
            (".", json!(".")),
            ("1e", json!("1e")),
            ("1é", json!("1é")),
        ] {
            assert_eq!(resolve(word), Some(value), "{word:?}");
        }
        for word in [".nan", ".inf", "-.INF"] {
            assert_eq!(resolve(word), None, "{word}");
        }
    }
}
