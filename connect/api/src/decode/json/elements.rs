use std::ops::Range;

use super::super::{Decoder, code};
use super::{JsonDecoder, scan};
use crate::Reject;

/// Finds an array in JSON bodies, and some fields beside it.
///
/// A body must be valid JSON as a whole, and have no key twice outside of the elements. What is
/// wrong with an element otherwise shows when it is decoded alone.
pub struct Elements {
    grammar: JsonDecoder,
    array: Vec<Box<str>>,
    fields: Vec<Vec<Box<str>>>,
    elements_max: usize,
    scratch: Vec<u8>,
}

/// What was found in a body, by where it lies there.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// The array.
    pub array: Array,
    /// The values of the fields, in the order in which they were asked for; `None` where there is
    /// none.
    pub fields: Vec<Option<Range<usize>>>,
}

/// What stands where an array was looked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Array {
    /// Its elements.
    Elements(Vec<Range<usize>>),
    /// It has more elements than allowed: so many.
    TooMany(usize),
    /// Nothing, or null.
    Missing,
    /// Something else, which begins here.
    Other(usize),
}

/// Where a value lies, if it is there once.
enum Found {
    At(Range<usize>),
    Missing,
    Twice,
}

impl Elements {
    /// Takes apart the array at this path, of at most so many elements; without any part the path
    /// is that of the body itself.
    pub fn new<'p>(
        array: &[String],
        fields: impl IntoIterator<Item = &'p [String]>,
        elements_max: usize,
    ) -> Self {
        let path = |path: &[String]| path.iter().map(|part| part.as_str().into()).collect();
        Self {
            grammar: JsonDecoder::new(&[]).expect("no column, and so none that is wrong"),
            array: path(array),
            fields: fields.into_iter().map(path).collect(),
            elements_max,
            scratch: Vec::new(),
        }
    }

    /// Looks into a body.
    ///
    /// # Errors
    /// If it is not valid JSON, nests too deeply, or has a key twice outside of the elements.
    pub fn find(&mut self, body: &[u8]) -> Result<Taken, Reject> {
        let checked = self.grammar.check(body);
        let has_twins = match checked {
            Ok(()) => false,
            // It is valid JSON all the same.
            Err(reject) if reject.code == code::DUPLICATE_KEY => true,
            Err(reject) => return Err(reject),
        };
        let array = self.value(body, &self.array)?;
        if has_twins {
            self.check_around(body, array.as_ref())?;
        }
        let fields = self.fields.iter().map(|path| self.value(body, path));
        let fields = fields.collect::<Result<_, Reject>>()?;
        let array = match array {
            Some(Range { start, .. }) if body[start] == b'[' => {
                let mut elements = Vec::new();
                let mut count = 0;
                each_element(body, start, |element| {
                    count += 1;
                    if count <= self.elements_max {
                        elements.push(element);
                    }
                });
                match count > self.elements_max {
                    true => Array::TooMany(count),
                    false => Array::Elements(elements),
                }
            }
            Some(Range { start, .. }) if body[start] != b'n' => Array::Other(start),
            Some(_) | None => Array::Missing,
        };
        Ok(Taken { array, fields })
    }

    /// The value at a path.
    fn value(&self, body: &[u8], path: &[Box<str>]) -> Result<Option<Range<usize>>, Reject> {
        let start = space(body, 0);
        let mut value = start..end_of(body, start);
        for part in path {
            if body[value.start] != b'{' {
                return Ok(None);
            }
            value = match member(body, value.start, part) {
                Found::At(inner) => inner,
                Found::Missing => return Ok(None),
                Found::Twice => {
                    let (error, field) =
                        (format!("the key `{part}` is there twice"), part.to_string());
                    return Err(Reject { code: code::DUPLICATE_KEY, error, field: Some(field) });
                }
            };
        }
        Ok(Some(value))
    }

    /// A key is there twice: refuses the body if that is not within the array.
    fn check_around(&mut self, body: &[u8], array: Option<&Range<usize>>) -> Result<(), Reject> {
        let mut around = std::mem::take(&mut self.scratch);
        around.clear();
        match array {
            Some(array) => {
                around.extend_from_slice(&body[..array.start]);
                around.extend_from_slice(b"[]");
                around.extend_from_slice(&body[array.end..]);
            }
            None => around.extend_from_slice(body),
        }
        let checked = self.grammar.check(&around);
        self.scratch = around;
        checked
    }
}

/// Where the value of a key lies in the object that begins at `at`.
fn member(body: &[u8], at: usize, wanted: &str) -> Found {
    let mut found = Found::Missing;
    let mut at = space(body, at + 1);
    let mut unescaped = Vec::new();
    while body[at] != b'}' {
        let key = at + 1..string_end(body, at) - 1;
        let raw = &body[key.clone()];
        let is_wanted = if raw.contains(&b'\\') {
            unescaped.clear();
            scan::unescape(raw, &mut unescaped);
            unescaped == wanted.as_bytes()
        } else {
            raw == wanted.as_bytes()
        };
        let colon = space(body, key.end + 1);
        let value = space(body, colon + 1);
        let end = end_of(body, value);
        if is_wanted {
            if matches!(found, Found::At(_)) {
                return Found::Twice;
            }
            found = Found::At(value..end);
        }
        at = next(body, end);
    }
    found
}

/// Where each element of the array that begins at `at` lies.
fn each_element(body: &[u8], at: usize, mut each: impl FnMut(Range<usize>)) {
    let mut at = space(body, at + 1);
    while body[at] != b']' {
        let end = end_of(body, at);
        each(at..end);
        at = next(body, end);
    }
}

/// Where the next member or element begins, or the bracket behind the last one is.
fn next(body: &[u8], end: usize) -> usize {
    let at = space(body, end);
    if body[at] == b',' { space(body, at + 1) } else { at }
}

/// Where the value that begins at `at` ends, in what is known to be valid JSON.
fn end_of(body: &[u8], mut at: usize) -> usize {
    match body[at] {
        b'"' => string_end(body, at),
        b'{' | b'[' => {
            let mut depth = 0;
            loop {
                match body[at] {
                    b'"' => {
                        at = string_end(body, at);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return at;
                }
            }
        }
        _ => {
            let ends = |byte: &u8| b",]} \t\r\n".contains(byte);
            body[at..].iter().position(ends).map_or(body.len(), |len| at + len)
        }
    }
}

/// Where the string ends whose opening quote is at `at`.
fn string_end(body: &[u8], at: usize) -> usize {
    scan::string(body, at + 1, &mut 0).map_or(body.len(), |span| span.end + 1)
}

fn space(body: &[u8], at: usize) -> usize {
    let is_space = |byte: &u8| b" \t\r\n".contains(byte);
    at + body[at..].iter().take_while(|byte| is_space(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found at `a.b` and beside it at `k` and `a.l`: the elements or what else is there,
    /// and the fields.
    #[track_caller]
    fn check(body: &str, elements: &[&str], fields: [Option<&str>; 2]) {
        let (array, k, l) = (["a".into(), "b".into()], ["k".into()], ["a".into(), "l".into()]);
        let mut finder = Elements::new(&array, [&k[..], &l[..]], 4);
        let taken = finder.find(body.as_bytes()).unwrap();
        let text = |range: &Range<usize>| &body[range.clone()];
        let Array::Elements(found) = &taken.array else { panic!("{body}: {taken:?}") };
        assert_eq!(found.iter().map(text).collect::<Vec<_>>(), elements, "{body}");
        let found: Vec<_> = taken.fields.iter().map(|field| field.as_ref().map(text)).collect();
        assert_eq!(found, fields, "{body}");
    }

    #[test]
    fn elements_are_found_wherever_the_array_is() {
        check(r#"{"a":{"b":[1,2]}}"#, &["1", "2"], [None, None]);
        check(r#"{"a":{"b":[]},"k":null}"#, &[], [Some("null"), None]);
        check(
            " { \"k\" : \"x]\\\"}\" , \"a\" : { \"l\" : [ { } ] , \"b\" : [ \"]\" , { \"b\" : [ 1 ] } , -1.5e3 ] } } ",
            &["\"]\"", "{ \"b\" : [ 1 ] }", "-1.5e3"],
            [Some("\"x]\\\"}\""), Some("[ { } ]")],
        );
        // Keys are what they say, not how they are written.
        check(r#"{"\u0061":{"b":[true,null]},"K":1}"#, &["true", "null"], [None, None]);
        check(r#"{"b":[9],"a":{"a":{"b":[8]},"b":[{"k":1}]}}"#, &[r#"{"k":1}"#], [None, None]);
        // What is wrong with an element is its own matter.
        check(r#"{"a":{"b":[{"x":1,"x":2},3]}}"#, &[r#"{"x":1,"x":2}"#, "3"], [None, None]);
    }

    #[track_caller]
    fn check_array(body: &str, expected: Array) {
        let mut finder = Elements::new(&["a".into()], [], 2);
        assert_eq!(finder.find(body.as_bytes()).unwrap().array, expected, "{body}");
    }

    #[test]
    fn what_is_no_array_is_told_apart() {
        check_array("{}", Array::Missing);
        check_array(r#"{"a":null}"#, Array::Missing);
        check_array("[1]", Array::Missing);
        check_array(r#"{"a":{}}"#, Array::Other(5));
        check_array(r#"{"a": "[]"}"#, Array::Other(6));
        check_array(r#"{"a":[1,2,3,4]}"#, Array::TooMany(4));
        check_array(r#"{"a":[1,2]}"#, Array::Elements(vec![6..7, 8..9]));
        let mut whole = Elements::new(&[], [], 2);
        assert_eq!(whole.find(b" [1, 2]").unwrap().array, Array::Elements(vec![2..3, 5..6]));
        assert_eq!(whole.find(b"5").unwrap().array, Array::Other(0));
    }

    #[track_caller]
    fn check_refused(body: &str, expected: &str) {
        let mut finder = Elements::new(&["a".into()], [&["k".into()][..]], 9);
        assert_eq!(finder.find(body.as_bytes()).unwrap_err().code, expected, "{body}");
    }

    #[test]
    fn a_body_with_a_mistake_around_the_elements_is_refused() {
        check_refused(r#"{"a":[1,]}"#, code::SYNTAX);
        check_refused(r#"{"a":[1] "#, code::SYNTAX);
        check_refused("", code::SYNTAX);
        check_refused(r#"{"a":[1],"a":[2]}"#, code::DUPLICATE_KEY);
        check_refused(r#"{"a":[1],"k":1,"k":2}"#, code::DUPLICATE_KEY);
        check_refused(r#"{"a":[1],"z":{"y":1,"y":2}}"#, code::DUPLICATE_KEY);
        check_refused(&"[".repeat(99), code::TOO_DEEP);
        check_refused("{\"a\":[\"\u{0}\"]}", code::SYNTAX);
    }
}
