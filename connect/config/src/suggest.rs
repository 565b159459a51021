//! What somebody may have meant.

/// The candidate nearest to `wrong`, if it is near enough to be a slip: at most two edits, or a
/// third of the length, and only one where a word has fewer than five letters; or the beginning of
/// the word, as `int` of `integer`.
pub(crate) fn nearest<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    all_nearest(wrong, candidates).first().copied()
}

/// Like [`nearest`], but all candidates of which none is nearer than another.
pub(crate) fn all_nearest<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Vec<&'a str> {
    let wrong: Vec<char> = wrong.chars().take(LEN_MAX).collect();
    let mut near: Vec<_> = candidates
        .into_iter()
        .take(CANDIDATES_MAX)
        .filter_map(|candidate| {
            let chars: Vec<char> = candidate.chars().take(LEN_MAX).collect();
            let distance = edits(&wrong, &chars);
            let shorter = wrong.len().min(chars.len());
            let allowed = 2.max(wrong.len() / 3).min((shorter + 1) / 3);
            let longer = chars.len().abs_diff(wrong.len());
            let begins = shorter >= BEGINNING_LEN && wrong[..shorter] == chars[..shorter];
            (distance <= allowed || begins).then_some((distance, longer, candidate))
        })
        .collect();
    near.sort_by_key(|&(distance, longer, _)| (distance, longer));
    let least = near.first().map(|(distance, ..)| *distance);
    near.iter().take_while(|near| Some(near.0) == least).map(|near| near.2).collect()
}

/// A list that is longer was not written by hand.
const CANDIDATES_MAX: usize = 1000;

/// So many characters say which word is meant.
const BEGINNING_LEN: usize = 3;

/// Names are short; this bounds the work for what is not a name.
const LEN_MAX: usize = 64;

/// The fewest insertions, deletions, replacements and swaps of neighbours that turn one into the
/// other.
fn edits(from: &[char], to: &[char]) -> usize {
    let mut before = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, &a) in from.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, &b) in to.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && a == to[j - 1] && from[i - 1] == b {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut last, next);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wrong: &str, candidates: &[&str], expected: Option<&str>) {
        assert_eq!(nearest(wrong, candidates.iter().copied()), expected, "{wrong}");
    }

    #[test]
    fn a_slip_is_recognised() {
        check("compresion", &["columns", "compression"], Some("compression"));
        check("regoin", &["region", "origin"], Some("region"));
        check("htttp", &["http", "parquet"], Some("http"));
        check("filtre", &["filter", "set"], Some("filter"));
    }

    #[test]
    fn a_word_is_known_by_its_beginning() {
        check("integer", &["int", "string"], Some("int"));
        check("time", &["string", "timestamp"], Some("timestamp"));
        check("ti", &["string", "timestamp"], None);
    }

    #[test]
    fn the_nearest_wins() {
        check("sinkz", &["sink", "sinks", "sinkzz"], Some("sinks"));
    }

    #[test]
    fn several_can_be_as_near() {
        assert_eq!(all_nearest("mix", ["min", "seed", "max"]), ["min", "max"]);
        assert_eq!(all_nearest("type", ["types", "null", "time"]), ["types"]);
    }

    #[test]
    fn another_word_is_not_a_slip() {
        check("http", &["parquet"], None);
        check("to", &["is", "at"], None);
        check("drop", &["dlq", "stop"], None);
        check("x", &["a"], None);
        check("", &["a"], None);
    }
}
