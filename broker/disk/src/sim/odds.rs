use std::ops::Range;

use super::seed::Seed;

/// Bytes that a disk writes wholly or not at all.
pub(super) const SECTOR: u64 = 512;

/// How much of one file's pending changes a power cut spares. The extremes come up often enough
/// that one file keeps everything while another loses everything.
#[derive(Clone, Copy, Debug)]
pub(super) enum Odds {
    Nothing,
    Everything,
    /// Each on its own, so many times out of eight.
    Each {
        whole: u64,
        torn: u64,
    },
}

impl Odds {
    pub(super) fn new(seed: &mut Seed) -> Self {
        match seed.below(8) {
            0 => Odds::Nothing,
            1 => Odds::Everything,
            2 | 3 => Odds::Each { whole: 6, torn: 1 },
            4 | 5 => Odds::Each { whole: 1, torn: 2 },
            _ => Odds::Each { whole: 3, torn: 2 },
        }
    }

    /// The parts of a change of `range` that survive.
    pub(super) fn parts(self, range: Range<u64>, seed: &mut Seed) -> Vec<Range<u64>> {
        let (whole, torn) = match self {
            Odds::Nothing => return Vec::new(),
            Odds::Everything => return vec![range],
            Odds::Each { whole, torn } => (whole, torn),
        };
        let fate = seed.below(8);
        if fate < whole {
            vec![range]
        } else if fate < whole + torn {
            tear(range, seed)
        } else {
            Vec::new()
        }
    }
}

/// Some of the sectors of a range: those at its start, those at its end, or scattered ones.
/// Nothing if it is within one sector.
fn tear(range: Range<u64>, seed: &mut Seed) -> Vec<Range<u64>> {
    let first = range.start / SECTOR;
    let sectors = range.end.div_ceil(SECTOR) - first;
    if sectors < 2 {
        return Vec::new();
    }
    let edge = (first + 1 + seed.below(sectors - 1)) * SECTOR;
    let mut parts = Vec::new();
    match seed.below(3) {
        0 => parts.push(range.start..edge),
        1 => parts.push(edge..range.end),
        _ => {
            let mut at = range.start;
            while at < range.end {
                let stretch = 1 + seed.below(sectors.div_ceil(4));
                let end = ((at / SECTOR + stretch) * SECTOR).min(range.end);
                if seed.chance(1, 2) {
                    parts.push(at..end);
                }
                at = end;
            }
        }
    }
    parts
}
