//! Durations as `30s` and quantities as `10Mi`.

/// Milliseconds of `30s`, `5m`, `500ms`, `1h30m`.
pub(crate) fn duration_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        // `ms` before `m`.
        let (unit, length) = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]
            .into_iter()
            .find(|(unit, _)| rest.starts_with(unit))?;
        rest = rest.get(unit.len()..)?;
        total = total.checked_add(number.checked_mul(length)?)?;
    }
    (!text.is_empty()).then_some(total)
}

/// Bytes of `10Mi`, `256Ki`, `5M`, `1024`.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 8] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = if unit.is_empty() { 1 } else { UNITS.iter().find(|(name, _)| *name == unit)?.1 };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration_ms("30s"), Some(30_000));
        assert_eq!(duration_ms("500ms"), Some(500));
        assert_eq!(duration_ms("1h30m"), Some(5_400_000));
        for bad in ["", "30", "s", "1.5s", "-1s", "5 m", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(duration_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn quantities() {
        assert_eq!(bytes("10Mi"), Some(10 << 20));
        assert_eq!(bytes("5M"), Some(5_000_000));
        assert_eq!(bytes("1024"), Some(1024));
        for bad in ["", "Mi", "1.5Gi", "10mb", "é", "99999999999Ti"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
