use std::fmt;

/// How long the messages of each delay level wait. (`messageDelayLevel`)
///
/// As text, `1s 5s 2m 1h`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayLevels(Vec<u64>);

/// Why a text does not say how long levels wait.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelayLevelsError {
    /// No level at all.
    #[error("there is no delay level")]
    None,
    /// More than [`LEVELS_MAX`].
    #[error("{0} delay levels are more than the {LEVELS_MAX} allowed")]
    TooMany(usize),
    /// Not a number with a unit, or longer than [`DELAY_MS_MAX`].
    #[error("`{0}` is no delay: a number above 0 with the unit s, m, h or d, at most 3650d")]
    Delay(String),
}

/// Each level is a queue.
const LEVELS_MAX: usize = 128;
/// Ten years.
const DELAY_MS_MAX: u64 = 3_650 * 86_400_000;
const UNITS: [(char, u64); 4] = [('d', 86_400_000), ('h', 3_600_000), ('m', 60_000), ('s', 1_000)];

impl DelayLevels {
    /// Levels of so many milliseconds each, at least one; finer than the text can say.
    ///
    /// # Panics
    /// If there is none.
    pub fn of_ms(levels: impl IntoIterator<Item = u64>) -> Self {
        let levels: Vec<u64> = levels.into_iter().collect();
        assert!(!levels.is_empty(), "a message needs a level to wait in");
        Self(levels)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.len() as u32
    }

    /// How long a level waits, counted from 0; those above the last one wait as long as it.
    pub(crate) fn delay_ms(&self, index: usize) -> u64 {
        self.0.get(index).or(self.0.last()).copied().unwrap_or(0)
    }
}

impl Default for DelayLevels {
    /// RocketMQ's 18 levels.
    fn default() -> Self {
        const S: u64 = 1_000;
        const M: u64 = 60 * S;
        let levels = [S, 5 * S, 10 * S, 30 * S].into_iter();
        let levels = levels.chain((1..=10).map(|minutes| minutes * M));
        Self(levels.chain([20 * M, 30 * M, 60 * M, 120 * M]).collect())
    }
}

impl std::str::FromStr for DelayLevels {
    type Err = DelayLevelsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let levels: Vec<u64> =
            text.split_ascii_whitespace().map(delay).collect::<Result<_, _>>()?;
        match levels.len() {
            0 => Err(DelayLevelsError::None),
            n if n > LEVELS_MAX => Err(DelayLevelsError::TooMany(n)),
            _ => Ok(Self(levels)),
        }
    }
}

fn delay(text: &str) -> Result<u64, DelayLevelsError> {
    let parsed = UNITS.iter().find_map(|(unit, ms)| {
        let number: u64 = text.strip_suffix(*unit)?.parse().ok()?;
        number.checked_mul(*ms).filter(|ms| (1..=DELAY_MS_MAX).contains(ms))
    });
    parsed.ok_or_else(|| DelayLevelsError::Delay(text.to_owned()))
}

impl fmt::Display for DelayLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, delay) in self.0.iter().enumerate() {
            let whole = UNITS.iter().find(|(_, ms)| delay % ms == 0);
            let between = if n > 0 { " " } else { "" };
            match whole {
                Some((unit, ms)) => write!(f, "{between}{}{unit}", delay / ms)?,
                None => write!(f, "{between}{delay}ms")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_rocketmqs() {
        let text = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
        assert_eq!(DelayLevels::default().to_string(), text);
        assert_eq!(text.parse(), Ok(DelayLevels::default()));
        assert_eq!(DelayLevels::default().count(), 18);
    }

    #[track_caller]
    fn check(text: &str, expected: DelayLevelsError) {
        assert_eq!(text.parse::<DelayLevels>(), Err(expected));
    }

    #[test]
    fn what_is_no_delay_is_named() {
        let wrong = |text: &str| DelayLevelsError::Delay(text.to_owned());
        check(" ", DelayLevelsError::None);
        check("1s 5", wrong("5"));
        check("0s", wrong("0s"));
        check("-1s", wrong("-1s"));
        check("3651d", wrong("3651d"));
        check("18446744073709551615d", wrong("18446744073709551615d"));
        check(&"1s ".repeat(129), DelayLevelsError::TooMany(129));
    }

    #[test]
    fn levels_above_the_last_wait_as_long_as_it() {
        let levels: DelayLevels = "1s 2m".parse().unwrap();
        assert_eq!([0, 1, 2, 90].map(|n| levels.delay_ms(n)), [1_000, 120_000, 120_000, 120_000]);
    }
}
