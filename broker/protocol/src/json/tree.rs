use std::borrow::Cow;

use super::{BodyError, NotJson, Scanner};

/// Deeper than any body of the protocol, shallow enough for any stack.
const DEPTH_MAX: usize = 32;
/// A heartbeat has a few dozen values per subscription; a body of small numbers must not take
/// twenty times its size in memory.
pub const BODY_VALUES_MAX: usize = 1 << 17;
/// What a broker with 50,000 topics says about them has a million; a frame has at most 16 MiB.
const ANSWER_VALUES_MAX: usize = 1 << 22;
/// Java writes one where the same object stands twice; each costs a walk through the body.
const REFERENCES_MAX: usize = 1024;

/// A parsed body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json<'a> {
    Null,
    /// A string, a number or a boolean: RocketMQ's clients use them for one another.
    Scalar(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// In order of appearance; a key may itself be an object.
    Object(Vec<(Json<'a>, Json<'a>)>),
}

impl<'a> Json<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, BodyError> {
        Self::parse_within(bytes, BODY_VALUES_MAX)
    }

    /// The same for what somebody answers whom we asked: it may be long.
    pub(crate) fn parse_answer(bytes: &'a [u8]) -> Result<Self, BodyError> {
        Self::parse_within(bytes, ANSWER_VALUES_MAX)
    }

    /// The same with a limit of the caller's.
    pub(crate) fn parse_within(bytes: &'a [u8], values_max: usize) -> Result<Self, BodyError> {
        let mut parser =
            Parser { scanner: Scanner::new(bytes), values_left: values_max, references: 0 };
        let value = parser.value(0).map_err(|NotJson| BodyError::Json)?;
        if parser.scanner.at_end() { Ok(value) } else { Err(BodyError::Json) }
    }

    /// The value as the root of look-ups.
    pub(crate) fn root(&self) -> Node<'_> {
        Node { root: self, value: self }
    }

    fn member(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        // Of equal keys the last one wins, as in the map that Java reads into.
        let found =
            members.iter().rev().find(|(key, _)| matches!(key, Json::Scalar(text) if text == name));
        found.map(|(_, value)| value)
    }
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    values_left: usize,
    references: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Result<Json<'a>, NotJson> {
        self.values_left = self.values_left.checked_sub(1).ok_or(NotJson)?;
        if depth > DEPTH_MAX {
            return Err(NotJson);
        }
        if self.scanner.enter(b'[') {
            let mut items = Vec::new();
            while !self.scanner.leave(b']') {
                items.push(self.value(depth + 1)?);
            }
            return Ok(Json::Array(items));
        }
        if self.scanner.enter(b'{') {
            let mut members = Vec::new();
            while !self.scanner.leave(b'}') {
                let key = match self.value(depth + 1)? {
                    Json::Null => Json::Scalar(Cow::Borrowed("null")),
                    key => key,
                };
                self.references += usize::from(matches!(&key, Json::Scalar(k) if k == "$ref"));
                if self.references > REFERENCES_MAX {
                    return Err(NotJson);
                }
                self.scanner.colon()?;
                members.push((key, self.value(depth + 1)?));
            }
            return Ok(Json::Object(members));
        }
        let token = self.scanner.value()?;
        if token.is_null() {
            return Ok(Json::Null);
        }
        token.text().map(Json::Scalar).ok_or(NotJson)
    }
}

/// A value together with the document it lies in, so that references can be followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'j> {
    root: &'j Json<'j>,
    value: &'j Json<'j>,
}

impl<'j> Node<'j> {
    /// A member of an object; `None` if absent or null.
    pub(crate) fn get(self, name: &str) -> Option<Node<'j>> {
        self.at(self.value.member(name)?)
    }

    /// The items of an array; none if it is anything else.
    pub(crate) fn items(self) -> impl Iterator<Item = Node<'j>> {
        let items: &[Json<'j>] = match self.value {
            Json::Array(items) => items,
            _ => &[],
        };
        items.iter().filter_map(move |item| self.at(item))
    }

    /// All members of an object; keys may be objects.
    pub(crate) fn entries(self) -> impl Iterator<Item = (Node<'j>, Node<'j>)> {
        let members: &[(Json<'j>, Json<'j>)] = match self.value {
            Json::Object(members) => members,
            _ => &[],
        };
        members.iter().filter_map(move |(key, value)| Some((self.at(key)?, self.at(value)?)))
    }

    /// The members of an object whose keys are texts.
    pub(crate) fn members(self) -> impl Iterator<Item = (&'j str, Node<'j>)> {
        self.entries().filter_map(|(key, value)| Some((key.text()?, value)))
    }

    pub(crate) fn text(self) -> Option<&'j str> {
        match self.value {
            Json::Scalar(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn int<N: std::str::FromStr>(self) -> Option<N> {
        self.text()?.parse().ok()
    }

    pub(crate) fn flag(self) -> bool {
        self.text().is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// A member's text, empty if there is none.
    pub(crate) fn text_of(self, name: &str) -> &'j str {
        self.get(name).and_then(Node::text).unwrap_or_default()
    }

    /// A member's number.
    pub(crate) fn int_of<N: std::str::FromStr>(self, name: &str) -> Option<N> {
        self.get(name)?.int()
    }

    /// A member's boolean, false if there is none.
    pub(crate) fn flag_of(self, name: &str) -> bool {
        self.get(name).is_some_and(Node::flag)
    }

    /// The items of a member, none if it is missing.
    pub(crate) fn items_of(self, name: &str) -> impl Iterator<Item = Node<'j>> {
        self.get(name).into_iter().flat_map(Node::items)
    }

    /// The value, or what it refers to. A reference to a reference is nobody's.
    fn at(self, value: &'j Json<'j>) -> Option<Node<'j>> {
        let value = match value.member("$ref") {
            Some(Json::Scalar(path)) => follow(self.root, path)?,
            _ => value,
        };
        (*value != Json::Null).then_some(Node { root: self.root, value })
    }
}

/// Follows a path from the root, as fastjson writes it for an object it has printed before:
/// `$.consumerDataSet[0].subscriptionDataSet[1]`, with backslashes before characters that are
/// not letters or digits. Relative paths are not followed; their value reads as absent.
fn follow<'j>(root: &'j Json<'j>, path: &str) -> Option<&'j Json<'j>> {
    let mut value = root;
    let mut rest = path.strip_prefix('$')?;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (index, after) = after.split_once(']')?;
            let Json::Array(items) = value else {
                return None;
            };
            value = items.get(index.parse::<usize>().ok()?)?;
            rest = after;
        } else {
            let mut name = String::new();
            let mut chars = rest.strip_prefix('.')?.chars();
            loop {
                let before = chars.as_str();
                match chars.next() {
                    Some('\\') => name.extend(chars.next()),
                    Some('.' | '[') => {
                        rest = before;
                        break;
                    }
                    Some(c) => name.push(c),
                    None => {
                        rest = "";
                        break;
                    }
                }
            }
            value = value.member(&name)?;
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, path: &[&str], expected: Option<&str>) {
        let parsed = Json::parse(json.as_bytes()).unwrap();
        let mut node = Some(parsed.root());
        for name in path {
            node = node.and_then(|node| match name.parse::<usize>() {
                Ok(at) => node.items().nth(at),
                Err(_) => node.get(name),
            });
        }
        assert_eq!(node.and_then(Node::text), expected, "{json}");
    }

    #[test]
    fn members_are_found() {
        check(r#"{"a":{"b":["x","y"]}}"#, &["a", "b", "1"], Some("y"));
        check(r#"{"a":1,"a":2}"#, &["a"], Some("2"));
        check(r#"{"a":null}"#, &["a"], None);
        check(r#"{"a":[1,2,],}"#, &["a", "1"], Some("2"));
        check("{'a':true}\n", &["a"], Some("true"));
    }

    #[test]
    fn references_are_followed() {
        check(r#"{"a":{"x\\@1":[5,6]},"b":{"$ref":"$.a.x\\\\\\@1[1]"}}"#, &["b"], Some("6"));
        check(r#"{"a":{"v":5},"b":{"$ref":"$.a"}}"#, &["b", "v"], Some("5"));
        check(r#"{"b":{"$ref":"$.b"}}"#, &["b", "v"], None);
        check(r#"{"b":{"$ref":".."}}"#, &["b"], None);
        check(r#"{"b":{"$ref":"$.c[7]"}}"#, &["b"], None);
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert_eq!(Json::parse(deep.as_bytes()), Err(BodyError::Json));
        let keys = "{".repeat(100) + &"}".repeat(100);
        assert_eq!(Json::parse(keys.as_bytes()), Err(BodyError::Json));
        let wide = format!("[{}]", "1,".repeat(BODY_VALUES_MAX));
        assert_eq!(Json::parse(wide.as_bytes()), Err(BodyError::Json));
        assert!(Json::parse_answer(wide.as_bytes()).is_ok());
        let references = format!("[{}]", r#"{"$ref":"$"},"#.repeat(REFERENCES_MAX + 1));
        assert_eq!(Json::parse(references.as_bytes()), Err(BodyError::Json));
    }
}
