use std::net::Ipv4Addr;

/// 400 years are a whole number of days, and the calendar repeats after them.
const DAYS_BEFORE_1970: i64 = 719_468;
const MS_PER_DAY: i64 = 86_400_000;

/// Makes the unique id of messages: 32 upper-case hex digits. (In RocketMQ,
/// `MessageClientIDSetter`.)
///
/// | bytes | content                                                |
/// |-------|--------------------------------------------------------|
/// | 4     | IPv4 address of the client                             |
/// | 2     | process number, its lower half                         |
/// | 4     | what tells apart several makers of one process         |
/// | 4     | ms since the month began (UTC; Java takes local time)  |
/// | 2     | count                                                  |
///
/// Tools read the time back, to know where to begin to search; they allow for 13 hours.
#[derive(Debug)]
pub(crate) struct UniqueIds {
    prefix: [u8; 10],
    count: u16,
}

impl UniqueIds {
    pub(crate) fn new(ip: Ipv4Addr, process: u32, maker: u32) -> Self {
        let mut prefix = [0; 10];
        prefix[..4].copy_from_slice(&ip.octets());
        prefix[4..6].copy_from_slice(&(process as u16).to_be_bytes());
        prefix[6..].copy_from_slice(&maker.to_be_bytes());
        Self { prefix, count: 0 }
    }

    /// The next id, at a time in ms since 1970.
    pub(crate) fn next(&mut self, now_ms: i64) -> String {
        self.count = self.count.wrapping_add(1);
        let in_month = ms_in_month(now_ms) as u32;
        let [a, b, c, d, e, f, g, h, i, j] = self.prefix;
        let head = u128::from_be_bytes([0, 0, 0, 0, 0, 0, a, b, c, d, e, f, g, h, i, j]);
        let id = head << 48 | u128::from(in_month) << 16 | u128::from(self.count);
        format!("{id:032X}")
    }
}

/// At most 31 days, which fit 32 bits.
fn ms_in_month(now_ms: i64) -> i64 {
    let days = now_ms.div_euclid(MS_PER_DAY);
    // The calendar as if the year began in March, so that the leap day is its last.
    let of_era = (days + DAYS_BEFORE_1970).rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5;
    day * MS_PER_DAY + now_ms.rem_euclid(MS_PER_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(now_ms: i64, day: i64, ms: i64) {
        assert_eq!(ms_in_month(now_ms), (day - 1) * MS_PER_DAY + ms, "{now_ms}");
    }

    #[test]
    fn the_time_is_that_since_the_month_began() {
        check(0, 1, 0);
        check(1_700_000_000_000, 14, 80_000_000); // 2023-11-14 22:13:20
        check(951_782_400_000, 29, 0); // 2000-02-29
        check(951_868_800_000, 1, 0); // 2000-03-01
        check(1_798_761_599_999, 31, MS_PER_DAY - 1); // 2026-12-31, the last ms
    }

    #[test]
    fn ids_differ_and_look_like_javas() {
        let mut ids = UniqueIds::new([10, 0, 0, 9].into(), 0x1_2345, 0xABCD);
        assert_eq!(ids.next(5), "0A00000923450000ABCD000000050001");
        assert_eq!(ids.next(5), "0A00000923450000ABCD000000050002");
    }
}
