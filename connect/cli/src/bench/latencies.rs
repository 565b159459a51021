use std::time::Duration;

/// Buckets per doubling: a figure is right within 3 %.
const STEPS: u32 = 32;
const BUCKETS: usize = (64 * STEPS) as usize;

/// How long things took: a histogram over nanoseconds whose memory does not grow.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, max: 0 }
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The time within which this share of all things were done, in ms; `None` without any.
    pub(crate) fn at(&self, share: f64) -> Option<f64> {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            *count > 0 && seen >= rank
        })?;
        Some(upper(bucket).min(self.max) as f64 / 1e6)
    }

    /// The longest, in ms.
    pub(crate) fn max(&self) -> f64 {
        self.max as f64 / 1e6
    }
}

/// Numbers below `STEPS` have a bucket each; above, each doubling has `STEPS`.
fn bucket(nanos: u64) -> usize {
    let doubling = nanos.checked_ilog2().unwrap_or(0);
    let Some(shift) = doubling.checked_sub(STEPS.ilog2()) else {
        return nanos as usize;
    };
    (shift * STEPS) as usize + (nanos >> shift) as usize
}

/// The largest number of a bucket.
fn upper(bucket: usize) -> u64 {
    let (bucket, steps) = (bucket as u64, u64::from(STEPS));
    let Some(shift) = (bucket / steps).checked_sub(1).filter(|_| bucket >= steps) else {
        return bucket;
    };
    let first = u128::from(steps + bucket % steps + 1) << shift;
    u64::try_from(first - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_lies_in_a_bucket_that_is_close_to_it() {
        for power in 0..64 {
            for near in [(1u64 << power) - 1, 1 << power, (1 << power) + 1, 3 << power >> 1] {
                let bound = upper(bucket(near));
                assert!(bound >= near, "{near} {bound}");
                assert!(bound as f64 <= near as f64 * 1.04 + 1.0, "{near} {bound}");
                if bucket(near) > 0 {
                    assert!(upper(bucket(near) - 1) < near, "{near}");
                }
            }
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn shares_are_those_of_a_sorted_list() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.at(0.5), None);
        (1..=1000).rev().for_each(|micros| latencies.add(Duration::from_micros(micros)));
        for (share, exact) in [(0.0, 0.001), (0.5, 0.5), (0.99, 0.99), (0.999, 0.999), (1.0, 1.0)] {
            let found = latencies.at(share).unwrap();
            assert!((exact..=exact * 1.04).contains(&found), "{share}: {found}");
        }
        assert_eq!((latencies.count(), latencies.max()), (1000, 1.0));
    }
}
