use std::fmt;

use crate::{EvalError, Truth};

/// What comes of a condition and a row in one dialect. Only `True` lets a message through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    True,
    False,
    Unknown,
    /// An evaluation error, which ends the evaluation of everything around it.
    Failed,
}

use Outcome::{Failed, False, True, Unknown};

impl Outcome {
    const ALL: [Self; 4] = [True, False, Unknown, Failed];

    /// `self AND next`, where `self` is what came of the operands before.
    pub(super) fn and(self, next: Self) -> Self {
        match (self, next) {
            (False | Failed, _) | (_, True) => self,
            (True | Unknown, next) => next,
        }
    }

    /// `self OR next`, likewise.
    pub(super) fn or(self, next: Self) -> Self {
        match (self, next) {
            (True | Failed, _) | (_, False) => self,
            (False | Unknown, next) => next,
        }
    }

    fn negated(self) -> Self {
        match self {
            True => False,
            False => True,
            Unknown | Failed => self,
        }
    }
}

impl From<Result<Truth, EvalError>> for Outcome {
    fn from(verdict: Result<Truth, EvalError>) -> Self {
        match verdict {
            Ok(Truth::True) => True,
            Ok(Truth::False) => False,
            Ok(Truth::Unknown) => Unknown,
            Err(_) => Failed,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            True => "TRUE",
            False => "FALSE",
            Unknown => "unknown",
            Failed => "an error",
        })
    }
}

/// What came of the same row in the strict dialect and in RocketMQ's.
pub(super) type Pair = (Outcome, Outcome);

/// Which pairs there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pairs(u16);

impl Pairs {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn one(pair: Pair) -> Self {
        Self::NONE.with(pair)
    }

    /// The same in both dialects, whatever it is.
    pub(super) fn any_alike() -> Self {
        Outcome::ALL.into_iter().fold(Self::NONE, |all, outcome| all.with((outcome, outcome)))
    }

    pub(super) fn with(self, (strict, rocketmq): Pair) -> Self {
        Self(self.0 | 1 << (strict as u16 * 4 + rocketmq as u16))
    }

    fn iter(self) -> impl Iterator<Item = Pair> {
        let all = Outcome::ALL
            .into_iter()
            .flat_map(|strict| Outcome::ALL.into_iter().map(move |rocketmq| (strict, rocketmq)));
        all.filter(move |pair| self.0 & Self::one(*pair).0 != 0)
    }

    /// What `operator` makes of both, in each dialect.
    pub(super) fn then(self, next: Self, operator: fn(Outcome, Outcome) -> Outcome) -> Self {
        let mut all = Self::NONE;
        for (strict, rocketmq) in self.iter() {
            for (next_strict, next_rocketmq) in next.iter() {
                all = all.with((operator(strict, next_strict), operator(rocketmq, next_rocketmq)));
            }
        }
        all
    }

    pub(super) fn negated(self) -> Self {
        self.iter().fold(Self::NONE, |all, (strict, rocketmq)| {
            all.with((strict.negated(), rocketmq.negated()))
        })
    }

    /// Whether only one of the dialects may let a message through.
    pub(super) fn part(self) -> bool {
        self.iter().any(|(strict, rocketmq)| (strict == True) != (rocketmq == True))
    }
}
