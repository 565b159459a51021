//! Walking the tree with a table in hand: what is there, what is wrong, what is the default.
//!
//! Every function that finds a mistake reports it and answers `None`; the caller goes on with the
//! rest, so that one run finds all mistakes.

mod json; // values of whatever type

use crate::code;
use crate::env::{Env, EnvError, Interpolated, Piece, interpolate, pieces};
use crate::keys;
use crate::mistake::{Mistake, Mistakes};
use crate::model::WasmSpec;
use crate::parse::{self, Wrong};
use crate::suggest::{all_nearest, nearest};
use crate::table::{Components, Field, Kind, Need, Table, example, list_and, list_or};
use crate::text::{SourceText, Span};
use crate::yaml::{Key, Node, Scalar, Value, is_merge};

/// The text under reading, the environment, and the mistakes found so far.
pub(crate) struct Reader<'a> {
    pub(crate) source: &'a SourceText<'a>,
    env: Env<'a>,
    pub(crate) mistakes: Mistakes,
    /// What may be a mistake.
    pub(crate) warnings: Mistakes,
    /// The `wasm` steps that name a module, with as much as is known of its settings.
    pub(crate) modules: Vec<WasmSpec>,
}

/// What a node is the value of.
#[derive(Clone, Debug)]
pub(crate) struct At {
    /// The key, or how else messages call the place. Empty for the whole file.
    pub(crate) name: String,
    /// The node is one of several in the list that the key holds.
    item: bool,
    /// Where to point if the node itself is not there.
    pub(crate) span: Span,
}

/// One value with the place it stands at.
#[derive(Clone)]
pub(crate) struct Entry<'n> {
    pub(crate) kind: &'static Kind,
    pub(crate) at: At,
    pub(crate) node: &'n Node,
}

/// The one component that a map chose.
pub(crate) struct Chosen<'n> {
    pub(crate) name: &'static str,
    pub(crate) entry: Entry<'n>,
}

/// A map that was held against its table.
pub(crate) struct Fields<'n> {
    table: &'static Table,
    entries: Vec<(&'static str, Entry<'n>)>,
    pub(crate) component: Option<Chosen<'n>>,
    /// What unknown keys may have been meant to be, where that is not clear.
    guesses: Vec<Guess>,
    /// An alias may have brought other keys.
    has_more: bool,
}

impl At {
    pub(crate) fn whole_file() -> Self {
        Self { name: String::new(), item: false, span: 0..0 }
    }

    pub(crate) fn key(key: &Key) -> Self {
        Self { name: key.text.clone(), item: false, span: key.span.clone() }
    }

    /// The place of a key of a table, misspelled or not.
    fn field(field: &Field, key: &Key) -> Self {
        Self { name: field.name.to_owned(), item: false, span: key.span.clone() }
    }

    pub(crate) fn item_of(&self, node: &Node) -> Self {
        Self { name: self.name.clone(), item: true, span: node.span.clone() }
    }

    /// What could stand there.
    fn example(&self, kind: &Kind) -> String {
        match (self.name.as_str(), self.item) {
            ("", _) => "a pipeline file begins with `version: 1`".into(),
            (name, true) => format!("for example `{}`", example(name, kind)),
            (name, false) => format!("for example `{name}: {}`", example(name, kind)),
        }
    }

    /// As the subject of a sentence.
    fn subject(&self) -> String {
        match (self.name.as_str(), self.item) {
            ("", _) => "the file".into(),
            (name, false) => format!("`{name}`"),
            (name, true) => format!("an item of `{name}`"),
        }
    }

    fn place(&self) -> String {
        match (self.name.as_str(), self.item) {
            ("", _) => "at the top level".into(),
            (name, false) => format!("in `{name}`"),
            (name, true) => format!("in an item of `{name}`"),
        }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a SourceText<'a>, env: Env<'a>, mistakes: Mistakes) -> Self {
        Self { source, env, mistakes, warnings: Mistakes::default(), modules: Vec::new() }
    }

    pub(crate) fn error(
        &mut self,
        code: &'static str,
        span: &Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.mistakes.push(Mistake::new(code, span.clone(), message, help));
    }

    pub(crate) fn warn(
        &mut self,
        code: &'static str,
        span: &Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.warnings.push(Mistake::new(code, span.clone(), message, help));
    }

    /// Reports a mistake, and is what comes of it: nothing.
    fn fail<T>(
        &mut self,
        code: &'static str,
        span: &Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<T> {
        self.error(code, span, message, help);
        None
    }

    // Structure

    /// Holds a map against its table: unknown, missing and conflicting keys.
    pub(crate) fn fields<'n>(
        &mut self,
        table: &'static Table,
        at: &At,
        node: &'n Node,
    ) -> Option<Fields<'n>> {
        let Value::Map(map) = &node.value else {
            return self.wrong_type(&Kind::Table(table), at, node);
        };
        let mut fields = Fields::empty(table);
        let mut unknown = Vec::new();
        fields.has_more = node.has_more();
        for (key, value) in map.iter().filter(|entry| !is_merge(entry)) {
            if let Some(field) = table.field(&key.text) {
                fields.entries.push((field.name, Entry::new(field, key, value)));
                continue;
            }
            let component = table.components.and_then(|all| all.field(&key.text));
            match (component, table.components) {
                (Some(field), Some(all)) => match &fields.component {
                    None => fields.component = Some(Chosen::new(field, key, value)),
                    Some(first) => {
                        self.two_components(all, first.name, key);
                        self.skim(value);
                    }
                },
                _ if key.text.starts_with("x-") => {}
                _ => unknown.push((key, value)),
            }
        }
        for (key, value) in unknown {
            self.unknown_key(&mut fields, at, key, value);
        }
        self.missing_keys(&fields, at, node);
        Some(fields)
    }

    /// Holds the map of an entry against the table that its kind names.
    pub(crate) fn table<'n>(&mut self, entry: &Entry<'n>) -> Option<Fields<'n>> {
        match entry.kind {
            Kind::Table(table) | Kind::Either(_, Kind::Table(table)) => {
                self.fields(table, &entry.at, entry.node)
            }
            _ => self.wrong_type(entry.kind, &entry.at, entry.node),
        }
    }

    /// The map at a key of another one; where it is not there, a map without entries.
    pub(crate) fn nested<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<Fields<'n>> {
        match (fields.get(name), fields.table.field(name).map(|field| &field.kind)) {
            (Some(entry), _) => self.table(entry),
            (None, Some(Kind::Table(table))) => Some(Fields::empty(table)),
            (None, _) => None,
        }
    }

    fn missing_keys(&mut self, fields: &Fields<'_>, at: &At, node: &Node) {
        if fields.has_more {
            return;
        }
        let span = if at.name.is_empty() { node.span.clone() } else { at.span.clone() };
        for field in fields.table.fields {
            let there = fields.has(field.name);
            let meant = fields.guesses.contains(&Guess::Field(field.name));
            if matches!(field.need, Need::Required) && !there && !meant {
                let message = format!("`{}` is missing {}", field.name, at.place());
                let help = format!("add `{}: {}`", field.name, example(field.name, &field.kind));
                self.error(code::KEY_MISSING, &span, message, help);
            }
        }
        if let Some(all) = fields.table.components
            && fields.component.is_none()
            && !fields.guesses.contains(&Guess::Component)
        {
            let message = format!("{} says no {}", at.subject(), all.noun);
            self.error(code::KEY_MISSING, &span, message, format!("add {}", list_or(&all.names())));
        }
    }

    fn two_components(&mut self, all: &Components, first: &str, key: &Key) {
        let message =
            format!("there is exactly one {} here, and it is `{first}` already", all.noun);
        self.error(
            code::KEY_CONFLICT,
            &key.span,
            message,
            format!("delete one, or make it another {}", all.noun),
        );
    }

    /// Reports a key that the table does not have. If it is clear which missing key it was meant
    /// to be, it stands for that one.
    fn unknown_key<'n>(&mut self, fields: &mut Fields<'n>, at: &At, key: &Key, value: &'n Node) {
        let table = fields.table;
        let own = table.fields.iter().map(|field| field.name);
        let components = table.components.map_or(&[][..], |all| all.fields);
        let mut near = all_nearest(&key.text, own.clone().chain(components.iter().map(|c| c.name)));
        near.sort_by_key(|name| fields.has(name));
        let is_later = table.later.contains(&key.text.as_str());
        if let Some(all) = table.components {
            let near_component = near.first().is_some_and(|near| all.field(near).is_some());
            // What holds a map is more likely a component than a setting.
            let like_component =
                near.is_empty() && matches!(value.value, Value::Map(_)) && !is_later;
            if near_component || like_component || all.later.contains(&key.text.as_str()) {
                let meant = self.unknown_component(all, key);
                match (meant, &fields.component) {
                    (Some(field), None) => {
                        fields.component = Some(Chosen::new(field, key, value));
                    }
                    _ => {
                        fields.guesses.push(Guess::Component);
                        self.skim(value);
                    }
                }
                return;
            }
        }
        let mut message = format!("unknown key `{}` {}", key.text, at.place());
        let help = if is_later {
            message = format!("`{}` is not available {} in this version", key.text, at.place());
            format!("delete it, or keep it as a note: `x-{}`", key.text)
        } else if !near.is_empty() {
            format!("did you mean {}?", list_or(&near))
        } else if keys::PIPELINE.field(&key.text).is_some() {
            format!("`{}` belongs at the top level", key.text)
        } else if own.clone().next().is_none() {
            format!("it has no keys; write `{}: {{}}`", at.name)
        } else {
            format!("known: {}", own.collect::<Vec<_>>().join(", "))
        };
        self.error(code::KEY_UNKNOWN, &key.span, message, help);
        if is_later {
            return self.skim(value);
        }
        near.retain(|name| !fields.has(name));
        let meant = match near[..] {
            [name] => table.field(name),
            _ => None,
        };
        if let Some(field) = meant {
            fields.entries.push((field.name, Entry::new(field, key, value)));
        } else {
            fields.guesses.extend(near.into_iter().map(Guess::Field));
            self.skim(value);
        }
    }

    /// Reports a component that there is not. If it is clear which one was meant, that is it.
    fn unknown_component(&mut self, all: &'static Components, key: &Key) -> Option<&'static Field> {
        let names = all.names();
        let is_later = all.later.contains(&key.text.as_str());
        let near = if is_later { Vec::new() } else { all_nearest(&key.text, names.clone()) };
        let message = if is_later {
            format!("the {} `{}` is not available in this version", all.noun, key.text)
        } else {
            format!("no {} is called `{}`", all.noun, key.text)
        };
        let help = match near[..] {
            [] => format!("this version has {}", list_and(&names)),
            _ => format!("did you mean {}?", list_or(&near)),
        };
        self.error(code::KEY_COMPONENT, &key.span, message, help);
        match near[..] {
            [name] => all.field(name),
            _ => None,
        }
    }

    /// The components that a map with nothing else in it names. One is right; if there are more,
    /// that is told, and all of them are worth a look. `None` if it names none, or one that there
    /// is not.
    pub(crate) fn choose<'n>(
        &mut self,
        all: &'static Components,
        at: &At,
        node: &'n Node,
    ) -> Option<Vec<Chosen<'n>>> {
        if let Value::Alias = node.value {
            return None;
        }
        let Value::Map(map) = &node.value else {
            let name = match &node.value {
                Value::Scalar(scalar) => all.field(&scalar.text),
                Value::Seq(_) | Value::Map(_) | Value::Alias => None,
            };
            let help = match name {
                Some(field) => {
                    format!("write `{}: {{}}`, with its settings between the braces", field.name)
                }
                None => format!("begin with the name of a {}: {}", all.noun, list_or(&all.names())),
            };
            let message = format!("{} must be a map, found {}", at.subject(), describe(node));
            self.error(code::TYPE_VALUE, &self.span_at(at, node), message, help);
            return name.filter(|field| field.kind.takes_nothing()).map(|field| {
                let entry = Entry { kind: &field.kind, at: at.clone(), node: &NO_SETTINGS };
                vec![Chosen { name: field.name, entry }]
            });
        };
        let mut chosen: Vec<Chosen<'n>> = Vec::new();
        let mut any_unknown = node.has_more();
        for (key, value) in map.iter().filter(|entry| !is_merge(entry)) {
            let field = match all.field(&key.text) {
                None if key.text.starts_with("x-") => continue,
                None => self.unknown_component(all, key),
                known => known,
            };
            let Some(field) = field else {
                any_unknown = true;
                self.skim(value);
                continue;
            };
            if let Some(first) = chosen.first() {
                self.two_components(all, first.name, key);
            }
            chosen.push(Chosen::new(field, key, value));
        }
        if chosen.is_empty() && !any_unknown {
            let message = format!("{} says no {}", at.subject(), all.noun);
            let help = format!("add {}", list_or(&all.names()));
            self.error(code::KEY_MISSING, &at.span, message, help);
        }
        (!chosen.is_empty()).then_some(chosen)
    }

    /// The items of a list.
    pub(crate) fn items<'n>(&mut self, entry: &Entry<'n>) -> Option<Vec<Entry<'n>>> {
        let (Kind::List(kind), Value::Seq(items)) = (entry.kind, &entry.node.value) else {
            return self.wrong_type(entry.kind, &entry.at, entry.node);
        };
        let item = |node| Entry { kind, at: entry.at.item_of(node), node };
        Some(items.iter().map(item).collect())
    }

    /// The entries of a map whose keys the file chooses.
    pub(crate) fn map<'n>(&mut self, entry: &Entry<'n>) -> Option<Vec<(&'n Key, Entry<'n>)>> {
        let (Kind::Map(_, kind), Value::Map(map)) = (entry.kind, &entry.node.value) else {
            return self.wrong_type(entry.kind, &entry.at, entry.node);
        };
        let pair = |(key, node): &'n (Key, Node)| (key, Entry { kind, at: At::key(key), node });
        Some(map.iter().filter(|entry| !is_merge(entry)).map(pair).collect())
    }

    // Scalars

    /// A required or optional scalar, or its default.
    pub(crate) fn value<T>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        parse: fn(&Kind, &str) -> Result<T, Wrong>,
    ) -> Option<T> {
        match fields.get(name) {
            Some(entry) => self.scalar(entry, parse),
            None => fields.default(name).and_then(|(kind, text)| parse(kind, text).ok()),
        }
    }

    /// A scalar as `parse` reads it.
    pub(crate) fn scalar<T>(
        &mut self,
        entry: &Entry<'_>,
        parse: fn(&Kind, &str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let text = self.text(entry)?;
        match parse(entry.kind, &text) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.wrong_scalar(entry, &text, wrong);
                None
            }
        }
    }

    /// The text of a scalar, with the environment put in.
    fn text(&mut self, entry: &Entry<'_>) -> Option<String> {
        let Value::Scalar(scalar) = &entry.node.value else {
            return self.wrong_type(entry.kind, &entry.at, entry.node);
        };
        if entry.node.is_nothing() {
            return self.wrong_type(entry.kind, &entry.at, entry.node);
        }
        self.interpolated(entry.node, scalar)
    }

    fn interpolated(&mut self, node: &Node, scalar: &Scalar) -> Option<String> {
        match interpolate(&scalar.text, self.env) {
            Ok(text) => Some(text),
            Err(errors) => self.env_errors(node, errors),
        }
    }

    /// The text of a scalar that is read elsewhere, where it is told what is wrong with it.
    pub(crate) fn peek(&self, scalar: &Scalar) -> Option<String> {
        interpolate(&scalar.text, self.env).ok()
    }

    /// A text in pieces that tell what the file says from what the environment says.
    pub(crate) fn pieces(
        &mut self,
        entry: &Entry<'_>,
        each: &mut dyn FnMut(Piece<'_>),
    ) -> Option<()> {
        let Value::Scalar(scalar) = &entry.node.value else {
            return self.wrong_type(entry.kind, &entry.at, entry.node);
        };
        if entry.node.is_nothing() {
            return self.wrong_type(entry.kind, &entry.at, entry.node);
        }
        match pieces(&scalar.text, self.env, each) {
            Ok(()) => Some(()),
            Err(errors) => self.env_errors(entry.node, errors),
        }
    }

    /// The text of a scalar with the environment put in, which knows where it was written.
    pub(crate) fn interpolated_text(&mut self, entry: &Entry<'_>) -> Option<Interpolated> {
        let mut text = Interpolated::default();
        self.pieces(entry, &mut |piece| text.add(piece))?;
        Some(text)
    }

    fn env_errors<T>(&mut self, node: &Node, errors: Vec<EnvError>) -> Option<T> {
        for error in errors {
            let span = node.span_of(self.source, &error.span);
            self.error(error.code, &span, error.message, error.help);
        }
        None
    }

    /// Looks through what no table describes. What it takes from the environment has to be there
    /// all the same.
    fn skim(&mut self, node: &Node) {
        match &node.value {
            Value::Scalar(scalar) => drop(self.interpolated(node, scalar)),
            Value::Seq(items) => items.iter().for_each(|item| self.skim(item)),
            Value::Map(map) => {
                let read = map.iter().filter(|(key, _)| !key.text.starts_with("x-"));
                read.for_each(|(_, value)| self.skim(value));
            }
            Value::Alias => {}
        }
    }

    fn wrong_scalar(&mut self, entry: &Entry<'_>, text: &str, wrong: Wrong) {
        let span = entry.node.span.clone();
        let subject = entry.at.subject();
        match wrong {
            Wrong::Type => {
                let message =
                    format!("{subject} must be {}, found {}", entry.kind.described(), found(text));
                let example = entry.at.example(entry.kind);
                let help = match entry.kind {
                    Kind::Int { .. } => format!("write a number, {example}"),
                    _ => example,
                };
                self.error(code::TYPE_VALUE, &span, message, help);
            }
            Wrong::Choice(choices) => {
                let message =
                    format!("{subject} must be {}, found {}", list_or(choices), found(text));
                let help = match nearest(text, choices.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => entry.at.example(entry.kind),
                };
                self.error(code::TYPE_CHOICE, &span, message, help);
            }
            Wrong::Duration { bare: true } => {
                let help = format!("write `{text}s`, `{text}m` or `{text}h`");
                self.error(code::UNIT_DURATION, &span, "a duration needs a unit", help);
            }
            Wrong::Size { bare: true } => {
                let help = format!("write `{text}KiB`, `{text}MiB` or `{text}GiB`");
                self.error(code::UNIT_SIZE, &span, "a size needs a unit", help);
            }
            Wrong::Duration { bare: false } => {
                let message = format!("{} is not a duration", found(text));
                let help = "a whole number and `ms`, `s`, `m`, `h` or `d`, for example `10s`";
                self.error(code::UNIT_DURATION, &span, message, help);
            }
            Wrong::Size { bare: false } => {
                let message = format!("{} is not a size", found(text));
                let help = "a whole number and `B`, `KiB`, `MiB`, `GiB`, `kB`, `MB` or `GB`, for \
                            example `256MiB`";
                self.error(code::UNIT_SIZE, &span, message, help);
            }
            Wrong::Range(limits) => {
                let message = format!("{subject} must be {limits}, found {}", found(text));
                self.error(code::RANGE, &span, message, entry.at.example(entry.kind));
            }
            Wrong::Name(reason, help) => {
                let message = format!("{} cannot be a name: {reason}", found(text));
                self.error(code::NAME_SHAPE, &span, message, help);
            }
        }
    }

    /// Something of another kind stands there, or nothing at all.
    pub(crate) fn wrong_type<T>(&mut self, kind: &Kind, at: &At, node: &Node) -> Option<T> {
        if let Value::Alias = node.value {
            return None;
        }
        let span = self.span_at(at, node);
        let message =
            format!("{} must be {}, found {}", at.subject(), kind.described(), describe(node));
        let help = if node.is_nothing() && !at.name.is_empty() {
            format!("write a value behind the colon, {}", at.example(kind))
        } else if let (Kind::List(_), Value::Scalar(scalar)) = (kind, &node.value) {
            format!("write `{}: [{}]`", at.name, scalar.text)
        } else {
            at.example(kind)
        };
        if let Value::Seq(_) | Value::Map(_) = node.value {
            self.skim(node);
        }
        self.fail(code::TYPE_VALUE, &span, message, help)
    }

    /// Where a node is to be pointed at: nothing has no place of its own.
    fn span_at(&self, at: &At, node: &Node) -> Span {
        if node.span.is_empty() { at.span.clone() } else { node.span.clone() }
    }
}

/// What an unknown key may have been meant to be, so that it is not reported as missing too.
#[derive(PartialEq)]
enum Guess {
    Field(&'static str),
    Component,
}

impl<'n> Entry<'n> {
    fn new(field: &'static Field, key: &Key, node: &'n Node) -> Self {
        Self { kind: &field.kind, at: At::field(field, key), node }
    }
}

impl<'n> Chosen<'n> {
    fn new(field: &'static Field, key: &Key, node: &'n Node) -> Self {
        Self { name: field.name, entry: Entry::new(field, key, node) }
    }
}

impl<'n> Fields<'n> {
    /// A map that is not there: all defaults.
    pub(crate) fn empty(table: &'static Table) -> Self {
        Self { table, entries: Vec::new(), component: None, guesses: Vec::new(), has_more: false }
    }

    /// What stands at a key of the table.
    pub(crate) fn get(&self, name: &str) -> Option<&Entry<'n>> {
        debug_assert!(self.table.field(name).is_some(), "{} has no key {name}", self.table.name);
        self.entries.iter().find(|(known, _)| *known == name).map(|(_, entry)| entry)
    }

    /// Whether the key or component of this name is there.
    fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(known, _)| *known == name)
            || self.component.as_ref().is_some_and(|chosen| chosen.name == name)
    }

    /// Whether an unknown key may have been meant to be this one, and others too, or an alias may
    /// have brought it.
    pub(crate) fn is_misspelled(&self, name: &str) -> bool {
        let is_brought = self.has_more && !self.has(name);
        is_brought
            || self
                .guesses
                .iter()
                .any(|guess| matches!(guess, Guess::Field(meant) if *meant == name))
    }

    fn default(&self, name: &str) -> Option<(&'static Kind, &'static str)> {
        let field = self.table.field(name)?;
        match field.need {
            Need::Default(text) => Some((&field.kind, text)),
            Need::Required | Need::Optional => None,
        }
    }
}

static NO_SETTINGS: Node = Node { span: 0..0, value: Value::Map(Vec::new()) };

fn describe(node: &Node) -> String {
    match &node.value {
        _ if node.is_nothing() => "nothing".into(),
        Value::Scalar(Scalar { text, .. }) => found(text),
        Value::Seq(_) => "a list".into(),
        Value::Map(_) => "a map".into(),
        Value::Alias => "an alias".into(),
    }
}

/// A text as messages quote it.
fn found(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let short: String = match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    };
    let kind = if parse::is_number(text) { "number" } else { "text" };
    format!("the {kind} `{short}`")
}
