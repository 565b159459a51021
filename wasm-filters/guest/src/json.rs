use std::borrow::Cow;

/// A JSON value where it lies: nothing is copied before somebody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a>(&'a [u8]);

/// How deep lists and objects may nest.
const DEPTH_MAX: usize = 128;

impl<'a> Json<'a> {
    /// Finds the end of one value, which must be the end of the text too.
    ///
    /// # Errors
    /// If the text is not JSON.
    pub fn parse(text: &'a [u8]) -> Result<Self, String> {
        let mut scan = Scan { text, at: 0 };
        scan.space();
        let value = scan.value(0).ok_or_else(|| scan.complaint())?;
        scan.space();
        if scan.at < text.len() { Err(scan.complaint()) } else { Ok(value) }
    }

    /// The text of the value itself.
    pub fn raw(&self) -> &'a [u8] {
        self.0
    }

    /// The field of an object, the last of this name; none of anything else.
    pub fn get(&self, name: &str) -> Option<Json<'a>> {
        let fields = self.fields()?;
        fields.filter(|(key, _)| key.text().as_deref() == Some(name)).last().map(|(_, v)| v)
    }

    /// The field at the end of a path such as `user.name`.
    pub fn at(&self, path: &str) -> Option<Json<'a>> {
        path.split('.').try_fold(*self, |value, name| value.get(name))
    }

    /// The items of a list.
    pub fn items(&self) -> Option<Items<'a>> {
        (self.0.first() == Some(&b'[')).then_some(Items(Scan { text: self.0, at: 1 }))
    }

    /// The fields of an object: names, which are texts, and values.
    pub fn fields(&self) -> Option<Fields<'a>> {
        (self.0.first() == Some(&b'{')).then_some(Fields(Scan { text: self.0, at: 1 }))
    }

    /// A text, without its quotes and escapes.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let inner = std::str::from_utf8(inner).ok()?;
        match inner.find('\\') {
            None => Some(Cow::Borrowed(inner)),
            Some(_) => unescaped(inner).map(Cow::Owned),
        }
    }

    /// A whole number.
    pub fn int(&self) -> Option<i64> {
        self.as_str()?.parse().ok()
    }

    /// A number.
    pub fn number(&self) -> Option<f64> {
        let starts_as_one = matches!(self.0.first(), Some(b'-' | b'0'..=b'9'));
        self.as_str().filter(|_| starts_as_one)?.parse().ok()
    }

    /// `true` or `false`.
    pub fn bool(&self) -> Option<bool> {
        match self.0 {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.0 == b"null"
    }

    fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }
}

/// The items of a list; see [`Json::items`].
#[derive(Clone, Debug)]
pub struct Items<'a>(Scan<'a>);

impl<'a> Iterator for Items<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        self.0.next_item(|scan| scan.value(0))
    }
}

/// The fields of an object; see [`Json::fields`].
#[derive(Clone, Debug)]
pub struct Fields<'a>(Scan<'a>);

impl<'a> Iterator for Fields<'a> {
    type Item = (Json<'a>, Json<'a>);

    fn next(&mut self) -> Option<(Json<'a>, Json<'a>)> {
        self.0.next_item(|scan| scan.field(0))
    }
}

#[derive(Clone, Debug)]
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn complaint(&self) -> String {
        format!("this is not JSON from byte {} on", self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// The next of what a list or an object has, behind a comma if it is not the first.
    fn next_item<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.space();
        if self.peek() == Some(b',') {
            self.at += 1;
            self.space();
        }
        match self.peek()? {
            b']' | b'}' => None,
            _ => read(self),
        }
    }

    fn value(&mut self, depth: usize) -> Option<Json<'a>> {
        let begin = self.at;
        match self.peek()? {
            b'{' => self.nested(b'}', depth, |scan| scan.field(depth + 1).map(drop)),
            b'[' => self.nested(b']', depth, |scan| scan.value(depth + 1).map(drop)),
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            _ => [&b"true"[..], b"false", b"null"]
                .into_iter()
                .find(|word| self.text[self.at..].starts_with(word))
                .map(|word| self.at += word.len()),
        }?;
        Some(Json(&self.text[begin..self.at]))
    }

    fn nested(
        &mut self,
        end: u8,
        depth: usize,
        mut item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.at += 1;
        self.space();
        if depth == DEPTH_MAX {
            return None;
        }
        if self.eat(end).is_some() {
            return Some(());
        }
        loop {
            self.space();
            item(self)?;
            self.space();
            if self.eat(end).is_some() {
                return Some(());
            }
            self.eat(b',')?;
        }
    }

    fn field(&mut self, depth: usize) -> Option<(Json<'a>, Json<'a>)> {
        let begin = self.at;
        self.string()?;
        let key = Json(&self.text[begin..self.at]);
        self.space();
        self.eat(b':')?;
        self.space();
        Some((key, self.value(depth)?))
    }

    fn string(&mut self) -> Option<()> {
        self.eat(b'"')?;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => {
                    self.at += 1;
                    match self.peek()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        b'u' => {
                            let digits = self.text.get(self.at + 1..self.at + 5)?;
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return None;
                            }
                            self.at += 5;
                        }
                        _ => return None,
                    }
                }
                ..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let digits = |scan: &mut Self| {
            let begin = scan.at;
            while scan.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                scan.at += 1;
            }
            (scan.at > begin).then_some(())
        };
        let _sign = self.eat(b'-');
        match self.eat(b'0') {
            Some(()) => {}
            None => digits(self)?,
        }
        if self.eat(b'.').is_some() {
            digits(self)?;
        }
        if self.eat(b'e').or_else(|| self.eat(b'E')).is_some() {
            let _sign = self.eat(b'+').or_else(|| self.eat(b'-'));
            digits(self)?;
        }
        Some(())
    }
}

/// A text without its escapes; a half of a pair that stands alone is no text.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        if next != '\\' {
            plain.push(next);
            continue;
        }
        plain.push(match rest.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = unit(&mut rest)?;
                match first {
                    0xd800..0xdc00 => {
                        let is_escape = rest.next() == Some('\\') && rest.next() == Some('u');
                        let second = is_escape.then(|| unit(&mut rest)).flatten()?;
                        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                        char::from_u32(0x10000 + ((first - 0xd800) << 10) + low)?
                    }
                    _ => char::from_u32(first)?,
                }
            }
            other => other,
        });
    }
    Some(plain)
}

fn unit(rest: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |unit, _| Some(unit * 16 + rest.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// What serde_json makes of what we find.
    fn rebuilt(json: Json<'_>) -> Value {
        if let Some(items) = json.items() {
            return items.map(rebuilt).collect();
        }
        if let Some(fields) = json.fields() {
            let field =
                |(key, value): (Json<'_>, _)| (key.text().unwrap().into_owned(), rebuilt(value));
            return Value::Object(fields.map(field).collect());
        }
        if let Some(text) = json.text() {
            return Value::String(text.into_owned());
        }
        serde_json::from_slice(json.raw()).unwrap()
    }

    #[track_caller]
    fn check(text: &str, good: bool) {
        assert_eq!(Json::parse(text.as_bytes()).is_ok(), good, "{text}");
        assert_eq!(serde_json::from_str::<Value>(text).is_ok(), good, "{text}");
    }

    #[test]
    fn what_is_json_and_what_is_not() {
        for good in
            ["0", "-1.5e+3", " [1 , 2] ", r#""\u00e9\n""#, "{}", r#"{"a":{"b":[]}}"#, "null"]
        {
            check(good, true);
        }
        for bad in ["", "01", "1.", "-", "[1,]", "[,1]", "{a:1}", r#"{"a":1,}"#, "\"\u{1}\"", "tru"]
        {
            check(bad, false);
        }
        for bad in [r#""\x""#, r#""\u12""#, "1 2", "[1", "{\"a\"}", "]", "1e", "+1"] {
            check(bad, false);
        }
        assert!(Json::parse(&[b'['; 100_000]).is_err());
    }

    #[test]
    fn fields_are_found_by_path() {
        let json =
            Json::parse(br#"{"user": {"name": "\ud83d\ude00 x", "age": 5}, "user2": 1}"#).unwrap();
        assert_eq!(json.at("user.name").unwrap().text().unwrap(), "😀 x");
        assert_eq!(json.at("user.age").unwrap().int(), Some(5));
        assert_eq!(json.get("user2").unwrap().number(), Some(1.0));
        assert!(json.at("user.none").is_none() && json.at("user2.name").is_none());
        assert!(Json::parse(br#""\ud83d""#).unwrap().text().is_none());
        assert!(Json::parse(br#""nan""#).unwrap().number().is_none());
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_is_found_again(value in values(), pretty in any::<bool>()) {
            let text = match pretty {
                true => serde_json::to_string_pretty(&value).unwrap(),
                false => value.to_string(),
            };
            let found = rebuilt(Json::parse(text.as_bytes()).unwrap());
            prop_assert_eq!(found, value);
        }

        #[test]
        fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(json) = Json::parse(&bytes) {
                json.items().map(Iterator::count);
                json.fields().map(Iterator::count);
                json.text();
            }
        }
    }
}
