/// Random numbers that depend on the seed, the record and the field they are for.
///
/// The generator is SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number
/// generators*, 2014). Each field of each record has its own stream, so a record can be made
/// without those before it, and a new field at the end changes none of the others.
#[derive(Debug)]
pub(super) struct Random(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    pub(super) fn new(seed: u64, record: u64, field: u64) -> Self {
        let field = mix(seed ^ mix(field.wrapping_add(1).wrapping_mul(STEP)));
        Self(mix(field ^ record.wrapping_mul(STEP)))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `end`, which is not 0. Not perfectly even: off by at most `end` / 2^64.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `min` to `max`, both included; `min` if they are the wrong way round.
    pub(super) fn between(&mut self, min: i64, max: i64) -> i64 {
        let span = max.wrapping_sub(min) as u64;
        match span.checked_add(1) {
            _ if max < min => min,
            Some(values) => min.wrapping_add(self.below(values) as i64),
            None => self.next() as i64,
        }
    }

    /// A number from 0 up to, not including, 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of the published generator started with 1234567.
    #[test]
    fn is_splitmix64() {
        let mut random = Random(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut random = Random::new(1, 2, 3);
        for _ in 0..1000 {
            assert!((-3..=3).contains(&random.between(-3, 3)));
            assert!((0.0..1.0).contains(&random.unit()));
        }
        assert_eq!(random.between(5, 5), 5);
        assert_eq!(random.between(5, 4), 5);
        random.between(i64::MIN, i64::MAX);
        random.between(i64::MIN, i64::MAX - 1);
    }

    #[test]
    fn every_value_comes_about_equally_often() {
        let mut counts = [0_u32; 10];
        for record in 0..100_000 {
            counts[Random::new(7, record, 0).below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
