use millrace_connect_api::decode::DecodeSpec;
use millrace_connect_api::{Column, DataType, Schema};
use millrace_sql_filter::{Dialect, Draft, Expr, Property, SyntaxError, Type, differences};
use saphyr_parser::ScalarStyle;

use super::schema::Bodies;
use crate::code;
use crate::model::{MetaField, RenamedColumn, Resolved, Slot};
use crate::read::{Entry, Reader};
use crate::suggest::nearest;
use crate::table::Kind;
use crate::text::{SourceText, Span};
use crate::yaml::Value;

/// The names that an expression can use at some point of the pipeline.
///
/// A mistake further up may hide names. From there on nothing is reported as unknown that could
/// be one of them, so that one mistake is reported once.
#[derive(Clone)]
pub(super) struct Scope {
    /// `None`: any column may exist.
    body: Option<Schema>,
    /// Columns of the body whose type is not known.
    untyped: Vec<String>,
    /// Each with its type, if that is known.
    properties: Vec<(String, Option<DataType>)>,
    set: Vec<(String, Option<DataType>)>,
    /// Columns of the body that an earlier step has taken out, each with the name under which its
    /// values are still there, if they are.
    gone: Vec<(String, Option<String>)>,
    /// Names that no column can have, although a step gives them to one.
    illegal: Vec<String>,
    any_bare_name: bool,
    body_only: bool,
    of_json: bool,
    /// While expressions read the body of the message: the columns that it has, if a `split` step
    /// makes the others.
    of_message: Option<Vec<String>>,
    /// A step may have given messages other properties than those they have in the topic.
    other_properties: bool,
}

/// An expression, and its type unless a mistake elsewhere hides it.
pub(super) struct Typed {
    pub(super) resolved: Resolved,
    data_type: Option<DataType>,
    /// Every column has a known type.
    certain: bool,
}

const META: [(&str, MetaField, DataType); 9] = [
    ("message_id", MetaField::MessageId, DataType::String),
    ("key", MetaField::Key, DataType::String),
    ("tag", MetaField::Tag, DataType::String),
    ("topic", MetaField::Topic, DataType::String),
    ("queue", MetaField::Queue, DataType::Int),
    ("offset", MetaField::Offset, DataType::Int),
    ("index", MetaField::Index, DataType::Int),
    ("born_time", MetaField::BornTime, DataType::Timestamp),
    ("store_time", MetaField::StoreTime, DataType::Timestamp),
];

/// Unknown names reported of one expression.
const UNKNOWN_MAX: usize = 20;

/// Names shown behind "known:".
const SHOWN_MAX: usize = 20;

impl Scope {
    pub(super) fn new(bodies: &Bodies) -> Self {
        Self {
            body: bodies.schema.clone(),
            untyped: bodies.untyped.clone(),
            properties: Vec::new(),
            set: Vec::new(),
            gone: Vec::new(),
            illegal: Vec::new(),
            any_bare_name: false,
            body_only: false,
            of_json: bodies.decode.as_ref().is_none_or(|decode| *decode == DecodeSpec::Json),
            of_message: None,
            other_properties: false,
        }
    }

    /// From here on messages may have other properties than in the topic.
    pub(super) fn other_properties(&mut self) {
        self.other_properties = true;
    }

    /// Whether expressions are evaluated before there is a message, on the body alone.
    pub(super) fn set_body_only(&mut self, body_only: bool) {
        self.body_only = body_only;
    }

    /// Whether bodies are JSON, as far as is known.
    pub(super) fn of_json(&self) -> bool {
        self.of_json
    }

    /// Which columns a message has itself, where a `split` step makes the others.
    pub(super) fn set_of_message(&mut self, columns: Option<Vec<String>>) {
        self.of_message = columns;
    }

    /// Whether some column is this field of the body, or lies within it.
    pub(super) fn reads_field(&self, name: &str) -> bool {
        let Some(schema) = &self.body else { return true };
        let inner = format!("{name}.");
        schema.columns.iter().any(|column| column.name == name || column.name.starts_with(&inner))
    }

    /// The fields of the body that columns are, or lie within.
    pub(super) fn fields(&self) -> Vec<&str> {
        let columns = self.body.iter().flat_map(|schema| &schema.columns);
        let mut fields: Vec<&str> =
            columns.map(|column| column.name.split('.').next().unwrap_or_default()).collect();
        fields.dedup();
        fields
    }

    /// A mistake hides which names there are.
    pub(super) fn any_bare_name(&mut self) {
        self.any_bare_name = true;
    }

    pub(super) fn define_properties(&mut self, properties: Vec<(String, Option<DataType>)>) {
        self.properties = properties;
    }

    /// A later column of the same name takes the place of the earlier one.
    pub(super) fn define_set(&mut self, name: &str, data_type: Option<DataType>) {
        match self.set.iter_mut().find(|(known, _)| known == name) {
            Some(column) => column.1 = data_type,
            None => self.set.push((name.to_owned(), data_type)),
        }
    }

    /// A column has another type from here on, or one that a mistake hides.
    pub(super) fn retype(&mut self, name: &str, data_type: Option<DataType>) {
        if !self.is_body_column(name) {
            return self.define_set(name, data_type);
        }
        let columns = self.body.iter_mut().flat_map(|schema| &mut schema.columns);
        for column in columns.filter(|column| column.name == name) {
            column.data_type = data_type.unwrap_or(column.data_type);
        }
        self.untyped.retain(|known| known != name);
        if data_type.is_none() {
            self.untyped.push(name.to_owned());
        }
    }

    /// A mistake hides which types columns have.
    pub(super) fn any_type(&mut self) {
        self.set.iter_mut().for_each(|(_, data_type)| *data_type = None);
        let columns = self.body.iter().flat_map(|schema| &schema.columns);
        self.untyped.extend(columns.map(|column| column.name.clone()));
    }

    /// The type of a column of the body, unless a mistake hides it.
    fn known_type(&self, column: &Column) -> Option<DataType> {
        (!self.untyped.contains(&column.name)).then_some(column.data_type)
    }

    /// A step defines a column of this name, which is a mistake and no name to suggest.
    pub(super) fn refuse_name(&mut self, name: &str) {
        self.illegal.push(name.to_owned());
    }

    /// Whether a name can be suggested.
    pub(super) fn is_legal(&self, name: &str) -> bool {
        !self.illegal.iter().any(|illegal| illegal == name)
    }

    /// A column is not there from here on.
    pub(super) fn take_out(&mut self, name: &str) {
        self.set.retain(|(known, _)| known != name);
        for (_, now) in &mut self.gone {
            now.take_if(|now| now == name);
        }
        if self.is_body_column(name) {
            self.gone.push((name.to_owned(), None));
        }
    }

    /// Columns get other names, all at once.
    pub(super) fn rename(&mut self, columns: &[RenamedColumn]) {
        let of_body: Vec<&RenamedColumn> =
            columns.iter().filter(|column| self.is_body_column(&column.from)).collect();
        self.set.retain(|(known, _)| !columns.iter().any(|column| column.from == *known));
        for now in self.gone.iter_mut().filter_map(|(_, now)| now.as_mut()) {
            if let Some(column) = columns.iter().find(|column| column.from == *now) {
                now.clone_from(&column.to);
            }
        }
        let gone = of_body.into_iter().map(|column| (column.from.clone(), Some(column.to.clone())));
        self.gone.extend(gone);
    }

    fn is_gone(&self, name: &str) -> bool {
        self.gone.iter().any(|(gone, _)| gone == name)
    }

    pub(super) fn set_columns(&self) -> usize {
        self.set.len()
    }

    pub(super) fn is_reserved(name: &str) -> bool {
        matches!(name, "body" | "props") || META.iter().any(|(meta, ..)| *meta == name)
    }

    /// Whether the body has this column, and no earlier step has taken it out.
    pub(super) fn is_body_column(&self, name: &str) -> bool {
        self.body.as_ref().is_some_and(|schema| schema.column(name).is_some())
            && !self.is_gone(name)
    }

    /// The columns that a file can have: of the body, then of `set` steps. The flag tells whether
    /// there may be others.
    pub(super) fn file_columns(&self) -> (Vec<(String, Option<DataType>)>, bool) {
        let body = self.body.iter().flat_map(|schema| &schema.columns);
        let there = body.filter(|column| !self.is_gone(&column.name));
        let mut columns: Vec<_> =
            there.map(|column| (column.name.clone(), self.known_type(column))).collect();
        for (name, data_type) in &self.set {
            if !columns.iter().any(|(known, _)| known == name) {
                columns.push((name.clone(), *data_type));
            }
        }
        (columns, self.any_bare_name || self.body.is_none())
    }

    /// An expression of any type.
    pub(super) fn expression(&self, reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<Typed> {
        let (resolved, data_type, certain) = self.resolve(reader, entry, Draft::check_value)?;
        Some(Typed { resolved, data_type: data_type.map(self::data_type), certain })
    }

    /// An expression for a column, which needs one type.
    pub(super) fn typed_expression(
        &self,
        reader: &mut Reader<'_>,
        entry: &Entry<'_>,
    ) -> Option<(Resolved, DataType)> {
        let typed = self.expression(reader, entry)?;
        if typed.data_type.is_none() && typed.certain {
            let message = format!("the type of `{}` cannot be told", entry.at.name);
            let help = "say it: `CAST(… AS STRING)`, or INT, DOUBLE, BOOL, TIMESTAMP, DATE";
            reader.error(code::TYPE_EXPRESSION, &entry.node.span, message, help);
        }
        Some((typed.resolved, typed.data_type?))
    }

    /// An expression that decides.
    pub(super) fn condition(&self, reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<Resolved> {
        let check = |draft: &Draft, types: ColumnTypes<'_>| (None, draft.check_condition(types));
        self.resolve(reader, entry, check).map(|(resolved, ..)| resolved)
    }

    /// Warns where a subscription would decide otherwise than a condition that could be one, because
    /// it reads nothing but properties of messages of the topic.
    pub(super) fn compare_with_subscription(
        &self,
        reader: &mut Reader<'_>,
        entry: &Entry<'_>,
        condition: &Resolved,
    ) {
        let properties: Option<Vec<Property>> =
            condition.slots.iter().map(|slot| self.as_property(slot)).collect();
        let Some(properties) = properties.filter(|all| !all.is_empty()) else { return };
        for found in differences(&condition.text, &|slot| properties[slot].clone()) {
            let span = entry.node.span_of(reader.source, &found.span);
            reader.warn(found.code, &span, found.message, found.help);
        }
    }

    /// What a column is to a broker, if it is anything.
    fn as_property(&self, slot: &Slot) -> Option<Property> {
        let Slot::Property { name, data_type } = slot else { return None };
        let promoted = self.properties.iter().find(|(known, _)| known == name);
        let holds = promoted.map_or(Some(DataType::String), |(_, data_type)| *data_type)?;
        let (holds, read_as) = (sql_type(holds), sql_type(*data_type));
        (!self.other_properties).then(|| Property { name: name.clone(), holds, read_as })
    }

    /// An expression with what `check` says of its type, and whether every column has a known one.
    fn resolve(
        &self,
        reader: &mut Reader<'_>,
        entry: &Entry<'_>,
        check: impl Fn(&Draft, ColumnTypes<'_>) -> (Option<Type>, Vec<SyntaxError>),
    ) -> Option<(Resolved, Option<Type>, bool)> {
        let written = match &entry.node.value {
            Value::Scalar(scalar) if !entry.node.is_nothing() => &scalar.text,
            _ => return reader.wrong_type(&Kind::Expr, &entry.at, entry.node),
        };
        let (text, values) = without_values(written);
        for value in &values {
            let span = entry.node.span_of(reader.source, value);
            let message = "an expression cannot take values from the environment";
            reader.error(code::ENV_FORM, &span, message, "write the value itself");
        }
        let draft = Draft::read(&text);
        let mut slots = Vec::new();
        let mut types = Vec::new();
        let mut unknown = 0;
        for column in draft.columns() {
            let found = match values.contains(&column.span) {
                true => Err(None),
                false => self.find(&column.name),
            };
            types.push(found.as_ref().ok().and_then(|(_, data_type)| data_type.map(sql_type)));
            match found {
                Ok((slot, _)) => slots.push(slot),
                Err(None) => {}
                Err(Some(_)) if unknown == UNKNOWN_MAX => {}
                Err(Some(refusal)) => {
                    unknown += 1;
                    let span: Span = entry.node.span_of(reader.source, &column.span);
                    let mut help = refusal.help;
                    if text[column.span.clone()].starts_with('"') {
                        help = format!("texts stand in single quotes: `'{}'`; {help}", column.name);
                    }
                    reader.error(refusal.code, &span, refusal.message, help);
                }
            }
        }
        let (found, mut mistakes) = check(&draft, &|slot| types[slot]);
        let expr = draft.into_expr();
        if let (true, Err(mistake)) = (mistakes.is_empty(), &expr) {
            mistakes.push(mistake.clone());
        }
        for mistake in &mistakes {
            let span = entry.node.span_of(reader.source, &mistake.span);
            let at_end = mistake.span.end == text.len() && mistake.code != "E-SQL-07";
            let comment = at_end.then(|| cut_by_comment(reader.source, entry)).flatten();
            let help = comment.unwrap_or_else(|| mistake.help.clone());
            reader.error(mistake.code, &span, mistake.message.clone(), help);
        }
        if !mistakes.is_empty() || !values.is_empty() || slots.len() < types.len() {
            return None;
        }
        let certain = !types.contains(&None);
        Some((Resolved { text, expr: expr.ok()?, slots }, found, certain))
    }

    /// What a name means. `Err(None)` is a name that a mistake elsewhere may hide.
    fn find(&self, name: &str) -> Result<(Slot, Option<DataType>), Option<Refusal>> {
        if let Some(path) = name.strip_prefix("body.") {
            return self.find_in_body(path);
        }
        if self.body_only {
            return Err(Some(self.only_the_body(name)));
        }
        if let Some(property) = name.strip_prefix("props.") {
            let data_type = DataType::String;
            return Ok((Slot::Property { name: property.to_owned(), data_type }, Some(data_type)));
        }
        if let Some(&(_, field, data_type)) = META.iter().find(|(meta, ..)| *meta == name) {
            return Ok((Slot::Meta(field), Some(data_type)));
        }
        let named = |list: &[(String, Option<DataType>)]| {
            list.iter().find(|(known, _)| known == name).map(|(_, data_type)| *data_type)
        };
        match (named(&self.properties), named(&self.set)) {
            (Some(Some(data_type)), None) => {
                Ok((Slot::Property { name: name.to_owned(), data_type }, Some(data_type)))
            }
            // Its expression is wrong, which has been said.
            (Some(None), None) => Err(None),
            (None, Some(data_type)) => Ok((Slot::Set(name.to_owned()), data_type)),
            (Some(_), Some(_)) => Err(Some(Refusal {
                code: code::COLUMN_AMBIGUOUS,
                message: format!(
                    "`{name}` is both a property of the topic and a column of a `set` step"
                ),
                help: format!("write `props.{name}` for the property, or rename the column"),
            })),
            (None, None) if self.any_bare_name => Err(None),
            // It may be a column of the body without its `body.`, and nobody knows those.
            (None, None) if self.body.is_none() && self.nearest_bare(name).is_none() => Err(None),
            (None, None) => Err(Some(self.unknown(name))),
        }
    }

    fn find_in_body(&self, path: &str) -> Result<(Slot, Option<DataType>), Option<Refusal>> {
        let Some(schema) = &self.body else {
            return Err(None);
        };
        if let Some((_, now)) = self.gone.iter().find(|(name, _)| name == path) {
            return Err(Some(self.taken_out(path, now.as_deref())));
        }
        if let Some(index) = schema.columns.iter().position(|column| column.name == path) {
            if self.body_only && self.of_message.as_ref().is_some_and(|known| !is_of(path, known)) {
                return Err(Some(Refusal {
                    code: code::COLUMN_UNKNOWN,
                    message: format!("`body.{path}` is a column of the rows that `split` makes"),
                    help: format!(
                        "a message has it only if the rows keep it: `keep: {{{path}: body.{path}}}`"
                    ),
                }));
            }
            let typed = !self.untyped.iter().any(|name| name == path);
            return Ok((Slot::Body(index), typed.then_some(schema.columns[index].data_type)));
        }
        let names = || schema.columns.iter().map(|column| column.name.as_str());
        Err(Some(Refusal {
            code: code::COLUMN_UNKNOWN,
            message: format!("unknown column `body.{path}`"),
            help: known(nearest(path, names()).map(|near| format!("body.{near}")), names()),
        }))
    }

    /// What there is to say of a column that was taken out, or is called `now`.
    fn taken_out(&self, name: &str, now: Option<&str>) -> Refusal {
        let is_new = self.set.iter().any(|(known, _)| known == name);
        let (message, help) = match now {
            Some(now) => (
                format!("an earlier step has given the column `body.{name}` another name"),
                format!("write `{now}`"),
            ),
            None => (
                format!("an earlier step has taken the column `body.{name}` out"),
                match is_new {
                    true => format!("write `{name}` for the column that took its place"),
                    false => "move that step behind this one".to_owned(),
                },
            ),
        };
        Refusal { code: code::COLUMN_UNKNOWN, message, help }
    }

    fn only_the_body(&self, name: &str) -> Refusal {
        let help = match &self.body {
            Some(schema) if schema.column(name).is_some() => {
                format!("did you mean `body.{name}`?")
            }
            _ => "here only `body.…` is known: there is no message yet".to_owned(),
        };
        Refusal { code: code::COLUMN_UNKNOWN, message: format!("unknown column `{name}`"), help }
    }

    fn unknown(&self, name: &str) -> Refusal {
        let message = format!("unknown column `{name}`");
        let refusal = |help| Refusal { code: code::COLUMN_UNKNOWN, message, help };
        let columns = || self.body.iter().flat_map(|schema| &schema.columns);
        if name == "body" {
            let first = columns().next().map_or("name", |column| column.name.as_str());
            return refusal(format!("name one of its columns, for example `body.{first}`"));
        }
        if let Some((_, now)) = self.gone.iter().find(|(gone, _)| gone == name) {
            return self.taken_out(name, now.as_deref());
        }
        if self.is_body_column(name) {
            return refusal(format!("did you mean `body.{name}`?"));
        }
        let near = self.nearest_bare(name).map(str::to_owned).or_else(|| {
            let near = nearest(name, columns().map(|column| column.name.as_str()));
            near.map(|near| format!("body.{near}"))
        });
        let in_body: Vec<String> =
            columns().map(|column| format!("body.{}", column.name)).collect();
        refusal(known(near, self.bare().chain(in_body.iter().map(String::as_str))))
    }

    /// Columns of steps and properties of the topic, as far as they can be suggested.
    fn bare(&self) -> impl Iterator<Item = &str> {
        let names = self.set.iter().chain(&self.properties).map(|(name, _)| name.as_str());
        names.filter(|name| self.is_legal(name))
    }

    /// The name outside of the body that another one may be meant for.
    fn nearest_bare(&self, name: &str) -> Option<&str> {
        nearest(name, self.bare().chain(META.iter().map(|(name, ..)| *name)))
    }
}

/// Whether a column is one of these fields, or lies within one.
fn is_of(column: &str, fields: &[String]) -> bool {
    fields.iter().any(|field| {
        column.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// The text with a quoted name in the place of every `${env:…}`, and where those are.
fn without_values(text: &str) -> (String, Vec<Span>) {
    let mut masked = text.to_owned();
    let mut values = Vec::new();
    let mut at = 0;
    while let Some(start) = ["${env:", "${secret:"].iter().filter_map(|f| text[at..].find(f)).min()
    {
        let start = at + start;
        at = text[start..].find('}').map_or(text.len(), |end| start + end + 1);
        masked.replace_range(start..at, &format!("\"{}\"", "x".repeat(at - start - 2)));
        values.push(start..at);
    }
    (masked, values)
}

/// YAML ends a text without quotes where a comment begins, quotes inside it or not.
fn cut_by_comment(source: &SourceText<'_>, entry: &Entry<'_>) -> Option<String> {
    let Value::Scalar(scalar) = &entry.node.value else { return None };
    let rest = source.text.get(entry.node.span.end..)?;
    let comment = rest.trim_start_matches([' ', '\t']).starts_with('#');
    (scalar.style == ScalarStyle::Plain && comment)
        .then(|| "YAML takes ` #` for a comment; put the whole expression between quotes".into())
}

type ColumnTypes<'a> = &'a dyn Fn(usize) -> Option<Type>;

struct Refusal {
    code: &'static str,
    message: String,
    help: String,
}

/// `` did you mean `a`? known: a, b, c ``
pub(super) fn known<'a>(near: Option<String>, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let mut help = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
    if names.is_empty() {
        help.push_str("no column is known here");
    } else {
        let shown = names.len().min(SHOWN_MAX);
        help.push_str(&format!("known: {}", names[..shown].join(", ")));
        if shown < names.len() {
            help.push_str(&format!(" and {} more", names.len() - shown));
        }
    }
    help
}

/// Whether an expression can use this name as it is: no quotes, no dots, no word of the language.
pub(super) fn is_plain_name(name: &str) -> bool {
    const CHARS_MAX: usize = 64;
    name.len() <= CHARS_MAX
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
        && Expr::parse(name, Dialect::Strict)
            .is_ok_and(|expr| matches!(expr.columns(), [column] if column.name == name))
}

pub(super) fn sql_type(data_type: DataType) -> Type {
    match data_type {
        DataType::Bool => Type::Bool,
        DataType::Int => Type::Int,
        DataType::Double => Type::Double,
        DataType::String | DataType::Json => Type::Text,
        DataType::Timestamp => Type::Timestamp,
        DataType::Date => Type::Date,
    }
}

fn data_type(sql_type: Type) -> DataType {
    match sql_type {
        Type::Bool => DataType::Bool,
        Type::Int => DataType::Int,
        Type::Double => DataType::Double,
        Type::Text => DataType::String,
        Type::Timestamp => DataType::Timestamp,
        Type::Date => DataType::Date,
    }
}
