//! Texts to durations, sizes and numbers, and back for messages.

/// Why a text is not a duration or a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnitError {
    /// A number alone.
    Bare,
    /// Something else.
    Form,
    /// More than 64 bits hold.
    TooLarge,
}

pub(crate) const DURATION_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

pub(crate) const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// `10s` and the like, in milliseconds.
pub(crate) fn duration(text: &str) -> Result<u64, UnitError> {
    with_unit(text, DURATION_UNITS)
}

/// `256MiB` and the like, in bytes.
pub(crate) fn size(text: &str) -> Result<u64, UnitError> {
    with_unit(text, SIZE_UNITS)
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Result<u64, UnitError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::Form);
    }
    let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
    if unit.is_empty() {
        return Err(UnitError::Bare);
    }
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or(UnitError::Form)?;
    number.checked_mul(*factor).ok_or(UnitError::TooLarge)
}

/// A duration as one would write it.
pub(crate) fn show_duration(millis: u64) -> String {
    show(millis, DURATION_UNITS)
}

/// A size as one would write it.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, SIZE_UNITS)
}

fn show(number: u64, units: &[(&str, u64)]) -> String {
    let fits = |&&(_, factor): &&(&str, u64)| number >= factor && number.is_multiple_of(factor);
    let (unit, factor) = units.iter().filter(fits).max_by_key(|unit| unit.1).unwrap_or(&units[0]);
    format!("{}{unit}", number / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("100ms"), Ok(100));
        assert_eq!(duration("10s"), Ok(10_000));
        assert_eq!(duration("5m"), Ok(300_000));
        assert_eq!(duration("2h"), Ok(7_200_000));
        assert_eq!(duration("7d"), Ok(604_800_000));
        assert_eq!(duration("10"), Err(UnitError::Bare));
        assert_eq!(duration("10 s"), Err(UnitError::Form));
        assert_eq!(duration("1.5s"), Err(UnitError::Form));
        assert_eq!(duration("-1s"), Err(UnitError::Form));
        assert_eq!(duration("99999999999999999999s"), Err(UnitError::TooLarge));
        assert_eq!(duration("18446744073709551615d"), Err(UnitError::TooLarge));
    }

    #[test]
    fn sizes_know_both_families_of_units() {
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("256MB"), Ok(256_000_000));
        assert_eq!(size("1kB"), Ok(1000));
        assert_eq!(size("1B"), Ok(1));
        assert_eq!(size("256mib"), Err(UnitError::Form));
        assert_eq!(size("256"), Err(UnitError::Bare));
    }

    #[test]
    fn values_are_shown_as_one_writes_them() {
        assert_eq!(show_duration(90_000), "90s");
        assert_eq!(show_duration(600_000), "10m");
        assert_eq!(show_duration(0), "0ms");
        assert_eq!(show_size(256 << 20), "256MiB");
        assert_eq!(show_size(1500), "1500B");
    }
}
