use millrace_config::{Expected, ExpectedLetter, ExpectedLetters, ExpectedRows, TestCase};
use millrace_runtime::Summary;
use serde_json::{Map, Value, json};

use super::outcome::{File, Letter, Outcome};
use crate::figures::counted;
use crate::plain;

/// What is not as the test has it, a line or a few each. Without a summary of one whole run nobody
/// knows what filters took out.
pub(super) fn complaints(
    case: &TestCase,
    summary: Option<&Summary>,
    outcome: &Outcome,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for expected in &case.expect {
        let part = &expected.part;
        let mut complain = |text: String| complaints.push(format!("{part}: {text}"));
        let files = outcome.files.get(part).map_or(&[][..], Vec::as_slice);
        if let Some(rows) = &expected.rows {
            compare_rows(rows, files, &mut complain);
        }
        if let Some(patterns) = &expected.files {
            compare_files(patterns, files, &mut complain);
        }
        // After a power cut rows may come in other requests than they would have.
        if let (Some(requests), Some(_)) = (&expected.requests, summary) {
            let found = outcome.requests.get(part).map_or(&[][..], Vec::as_slice);
            compare_requests(requests, found, &mut complain);
        }
        if let (Some(filtered), Some(summary)) = (expected.filtered, summary) {
            let reasons = summary.sinks.get(part).map(|sink| &sink.filtered);
            let found: u64 = reasons.into_iter().flat_map(|reasons| reasons.values()).sum();
            if found != filtered {
                complain(format!("{found} filtered, expected {filtered}: {}", json!(reasons)));
            }
        }
    }
    for (part, letters) in &outcome.letters {
        let expected = case.expect.iter().find(|expected| expected.part == *part);
        compare_letters(expected, letters, &mut |text| complaints.push(format!("{part}: {text}")));
    }
    complaints
}

fn compare_rows(expected: &ExpectedRows, files: &[File], complain: &mut impl FnMut(String)) {
    let found: Vec<(&File, &Map<String, Value>)> =
        files.iter().flat_map(|file| file.rows.iter().map(move |row| (file, row))).collect();
    match expected {
        ExpectedRows::Count(count) if found.len() as u64 == *count => {}
        ExpectedRows::Count(count) => {
            complain(format!("{}, expected {count}", counted(found.len() as u64, "row")));
        }
        ExpectedRows::These(expected) => {
            let fits = |row: &Map<String, Value>, (file, found): (&File, &Map<String, Value>)| {
                row.iter().all(|(column, value)| has(file, found, column, value))
            };
            let (missing, others) = matched(expected, &found, |row, found| fits(row, *found));
            for row in missing {
                complain(format!("no such row: {}", Value::Object(row.clone())));
            }
            for &(file, row) in others {
                let mut row = row.clone();
                for (column, value) in &file.path_columns {
                    row.insert(column.clone(), json!(value));
                }
                complain(format!("one row too many: {}", Value::Object(row)));
            }
        }
    }
}

/// Whether a row has this value in a column, of the file or of its path.
fn has(file: &File, row: &Map<String, Value>, column: &str, expected: &Value) -> bool {
    let in_path = file.path_columns.iter().find(|(name, _)| name == column);
    match (in_path, row.get(column)) {
        (Some((_, Some(text))), _) => match expected {
            Value::String(expected) => expected == text,
            other => serde_json::from_str(text).is_ok_and(|found| same(&found, other)),
        },
        (None, Some(found)) => same(found, expected),
        (Some((_, None)) | None, _) => expected.is_null(),
    }
}

/// Whether two values are the same; `1` and `1.0` are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

fn compare_requests(
    expected: &ExpectedRows,
    found: &[Map<String, Value>],
    complain: &mut impl FnMut(String),
) {
    match expected {
        ExpectedRows::Count(count) if found.len() as u64 == *count => {}
        ExpectedRows::Count(count) => {
            complain(format!("{}, expected {count}", counted(found.len() as u64, "request")));
        }
        ExpectedRows::These(expected) => {
            let fits = |wanted: &Map<String, Value>, found: &Map<String, Value>| {
                wanted.iter().all(|(key, value)| holds(found.get(key), value))
            };
            let (missing, others) = matched(expected, found, fits);
            for request in missing {
                complain(format!("no such request: {}", Value::Object(request.clone())));
            }
            for request in others {
                complain(format!("one request too many: {}", Value::Object(request.clone())));
            }
        }
    }
}

/// Whether a value has what is expected of it; maps in it may have more.
fn holds(found: Option<&Value>, expected: &Value) -> bool {
    match (found, expected) {
        (None, expected) => expected.is_null(),
        (Some(Value::Object(found)), Value::Object(expected)) => {
            expected.iter().all(|(key, value)| holds(found.get(key), value))
        }
        (Some(Value::Array(found)), Value::Array(expected)) => {
            found.len() == expected.len()
                && found.iter().zip(expected).all(|(found, wanted)| holds(Some(found), wanted))
        }
        (Some(found), expected) => same(found, expected),
    }
}

fn compare_files(patterns: &[String], files: &[File], complain: &mut impl FnMut(String)) {
    for pattern in patterns {
        if !files.iter().any(|file| fits(pattern, &file.name)) {
            complain(format!("no file is called {pattern}"));
        }
    }
    for file in files {
        if !patterns.iter().any(|pattern| fits(pattern, &file.name)) {
            complain(format!("a file that nobody expects: {}", file.name));
        }
    }
}

/// Whether a path fits a pattern in which `*` stands for what is between two slashes.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.split('/'), path.split('/'));
    pattern.clone().count() == path.clone().count()
        && pattern.zip(path).all(|(pattern, name)| segment_fits(pattern, name))
}

fn segment_fits(pattern: &str, name: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(begin) else { return false };
    (0..=name.len()).any(|at| name.is_char_boundary(at) && segment_fits(rest, &name[at..]))
}

fn compare_letters(
    expected: Option<&Expected>,
    letters: &[Letter],
    complain: &mut impl FnMut(String),
) {
    let none = ExpectedLetters::Count(0);
    match expected.and_then(|expected| expected.letters.as_ref()).unwrap_or(&none) {
        ExpectedLetters::Count(count) if letters.len() as u64 == *count => {}
        ExpectedLetters::Count(count) => {
            complain(format!("{}, expected {count}", counted(letters.len() as u64, "dead letter")));
            for letter in letters {
                complain(format!("  {}", tell(letter)));
            }
        }
        ExpectedLetters::These(expected) => {
            let found: Vec<&Letter> = letters.iter().collect();
            let (missing, others) = matched(expected, &found, |wanted, letter| {
                let ExpectedLetter { code, field, index, error, body } = wanted;
                code.as_ref().is_none_or(|code| *code == letter.code)
                    && field.as_ref().is_none_or(|field| *field == letter.field)
                    && index.is_none_or(|index| Some(index) == letter.index)
                    && error.as_ref().is_none_or(|error| letter.error.contains(error.as_str()))
                    && body.as_ref().is_none_or(|body| *body == letter.body)
            });
            for ExpectedLetter { code, field, index, error, body } in missing {
                let mut wanted =
                    json!({"code": code, "field": field, "error": error, "body": body});
                if let Some(index) = index {
                    wanted["index"] = json!(index);
                }
                complain(format!("no such dead letter: {wanted}"));
            }
            for letter in others {
                complain(format!("a dead letter that nobody expects: {}", tell(letter)));
            }
        }
    }
}

fn tell(Letter { code, field, index, error, body }: &Letter) -> String {
    let field = if field.is_empty() { String::new() } else { format!(" in `{field}`") };
    let index = index.map_or(String::new(), |index| format!(" of row {index}"));
    plain::line(&format!("{code}{field}{index}: {error}: {body}")).into_owned()
}

/// Pairs what is expected with what is there, as many as can be; returns what is left of both.
fn matched<'e, E, F>(
    expected: &'e [E],
    found: &'e [F],
    fits: impl Fn(&E, &F) -> bool,
) -> (Vec<&'e E>, Vec<&'e F>) {
    // Expected things may leave columns out, so that one fits several: an augmenting path finds
    // another place for those that came first.
    let mut taken_by: Vec<Option<usize>> = vec![None; found.len()];
    let mut missing = Vec::new();
    for wanted in 0..expected.len() {
        let mut tried = vec![false; found.len()];
        if !place(wanted, &|e, f| fits(&expected[e], &found[f]), &mut taken_by, &mut tried) {
            missing.push(&expected[wanted]);
        }
    }
    let others = found.iter().zip(&taken_by).filter(|(_, taken)| taken.is_none());
    (missing, others.map(|(found, _)| found).collect())
}

fn place(
    wanted: usize,
    fits: &impl Fn(usize, usize) -> bool,
    taken_by: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for n in 0..taken_by.len() {
        if tried[n] || !fits(wanted, n) {
            continue;
        }
        tried[n] = true;
        if taken_by[n].is_none_or(|other| place(other, fits, taken_by, tried)) {
            taken_by[n] = Some(wanted);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_segment_by_segment() {
        for (pattern, path, expected) in [
            ("day=2026-01-02/*.parquet", "day=2026-01-02/orders-1.parquet", true),
            ("*/*", "day=2026-01-02/orders-1.parquet", true),
            ("*.parquet", "day=2026-01-02/orders-1.parquet", false),
            ("day=*-02/o*1.p*", "day=2026-01-02/orders-1.parquet", true),
            ("day=*-03/*", "day=2026-01-02/orders-1.parquet", false),
            ("a*a", "a", false),
            ("*é*", "caféx", true),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_fits_several_leaves_room_for_what_fits_one() {
        let fits = |wanted: &&str, found: &&str| found.contains(wanted);
        let (missing, others) = matched(&["a", "ab", "b"], &["ab", "b", "a"], fits);
        assert_eq!((missing.len(), others.len()), (0, 0));
        let (missing, others) = matched(&["a", "a", "c"], &["ab", "b"], fits);
        assert_eq!((missing, others), (vec![&"a", &"c"], vec![&"b"]));
    }

    #[test]
    fn values_are_compared_by_what_they_mean() {
        let file = File {
            name: String::new(),
            path_columns: vec![("day".into(), Some("5".into())), ("none".into(), None)],
            rows: Vec::new(),
        };
        let row = json!({"n": 1.0, "s": "1"});
        let row = row.as_object().unwrap();
        for (column, value, expected) in [
            ("n", json!(1), true),
            ("n", json!("1"), false),
            ("s", json!("1"), true),
            ("s", json!(1), false),
            ("day", json!(5), true),
            ("day", json!("5"), true),
            ("day", json!(null), false),
            ("none", json!(null), true),
            ("missing", json!(null), true),
            ("missing", json!("x"), false),
        ] {
            assert_eq!(has(&file, row, column, &value), expected, "{column} {value}");
        }
    }
}
