use millrace_connect_api::DataType;
use millrace_connect_api::decode::TimeFormat;

use super::super::columns::Available;
use super::super::names::{Scope, sql_type};
use crate::code;
use crate::keys;
use crate::model::{CastColumn, StepSpec};
use crate::parse;
use crate::read::{Entry, Fields, Reader};
use crate::table::{list_and, list_or};
use crate::text::Span;
use crate::yaml::{Key, Value};

/// What a column is to become.
struct Target<'n> {
    to: DataType,
    format: Option<(String, Entry<'n>)>,
    null: Option<(String, Entry<'n>)>,
}

pub(super) fn cast(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    scope: &mut Scope,
) -> Option<StepSpec> {
    let Some(map) = reader.map(entry) else {
        scope.any_type();
        return None;
    };
    if entry.node.has_more() {
        scope.any_type();
    }
    let available = Available::of(scope);
    let mut columns: Vec<CastColumn> = Vec::new();
    let mut named: Vec<&str> = Vec::new();
    for (key, value) in &map {
        let found = available.find(&key.text);
        if found.is_none() && !available.open {
            available.refuse(reader, &key.text, &key.span);
        }
        let target = target(reader, value);
        let Some((name, from)) = found else {
            // Whichever was meant may be of another type from here on.
            scope.any_type();
            continue;
        };
        if named.contains(&name.as_str()) {
            let message = format!("`{}` is cast twice", key.text);
            reader.error(code::COLUMN_TWICE, &key.span, message, "delete one of the two");
            continue;
        }
        named.push(name);
        scope.retype(name, target.as_ref().map(|target| target.to));
        let Some(target) = target else { continue };
        if from.is_none_or(|from| goes(reader, key, value, from, &target)) {
            let text = |of: Option<(String, Entry<'_>)>| of.map(|(text, _)| text);
            let Target { to, format, null } = target;
            let (format, null) = (text(format), text(null));
            columns.push(CastColumn { name: name.clone(), to, format, null });
        }
    }
    Some(StepSpec::Cast(columns))
}

fn target<'n>(reader: &mut Reader<'_>, entry: &Entry<'n>) -> Option<Target<'n>> {
    let Value::Map(_) = entry.node.value else {
        let to = reader.scalar(entry, parse::choice)?;
        return Some(Target { to: DataType::NAMES[to].1, format: None, null: None });
    };
    let fields = reader.fields(&keys::CAST, &entry.at, entry.node)?;
    let to = reader.value(&fields, "to", parse::choice);
    let format = text(reader, &fields, "format");
    let null = text(reader, &fields, "null");
    if let Some((format, entry)) = &format
        && let Err(error) = TimeFormat::parse(format)
    {
        let message = format!("this time format cannot be used: {error}");
        let help = "for example `%Y-%m-%dT%H:%M:%S%z`, or `%d.%m.%Y`";
        reader.error(code::REGEX, &entry.node.span, message, help);
        return None;
    }
    Some(Target { to: DataType::NAMES[to?].1, format, null })
}

fn text<'n>(
    reader: &mut Reader<'_>,
    fields: &Fields<'n>,
    name: &str,
) -> Option<(String, Entry<'n>)> {
    let entry = fields.get(name)?;
    Some((reader.scalar(entry, parse::text)?, entry.clone()))
}

/// Whether values of one type can become what is asked for; reports why not.
fn goes(
    reader: &mut Reader<'_>,
    key: &Key,
    entry: &Entry<'_>,
    from: DataType,
    target: &Target<'_>,
) -> bool {
    let mut goes = true;
    let mut refuse = |code, span: &Span, message: String, help: &str| {
        reader.error(code, span, message, help);
        goes = false;
    };
    let Target { to, format, null } = target;
    let is_time = matches!(to, DataType::Timestamp | DataType::Date);
    if let Some((_, entry)) = format
        && !(is_time && matches!(from, DataType::String | DataType::Int))
    {
        let message = format!("`{}` is {} that becomes {}", key.text, of(from), of(*to));
        let help =
            "a format is how a `string` or an `int` says a `timestamp` or a `date`: delete it";
        refuse(code::KEY_CONFLICT, &entry.at.span, message, help);
    }
    if let Some((_, entry)) = null
        && from != DataType::String
    {
        let message =
            format!("`{}` is {}, in which no text stands for no value", key.text, of(from));
        refuse(code::KEY_CONFLICT, &entry.at.span, message, "delete it");
    }
    if from == *to && null.is_none() {
        let message = format!("`{}` is {} already", key.text, of(from));
        refuse(code::TYPE_VALUE, &entry.node.span, message, "delete this line");
    } else if format.is_none() && !sql_type(from).casts_to(sql_type(*to)) {
        let message = format!("`{}` is {}, which cannot become {}", key.text, of(from), of(*to));
        let help = match (from, is_time) {
            (DataType::Int, true) => "say how the number tells the time, for example \
                                      `{to: timestamp, format: '%s'}` for seconds since 1970"
                .to_owned(),
            _ => format!("it can become {}", list_or(&possible(from))),
        };
        refuse(code::TYPE_VALUE, &entry.node.span, message, &help);
    }
    goes
}

fn possible(from: DataType) -> Vec<&'static str> {
    let others = DataType::NAMES.iter().filter(|(_, to)| *to != from);
    let others = others.filter(|(_, to)| sql_type(from).casts_to(sql_type(*to)));
    others.map(|(name, _)| *name).collect()
}

/// As messages say it.
fn of(data_type: DataType) -> String {
    let name = DataType::NAMES.iter().find(|(_, known)| *known == data_type);
    let name = list_and(&[name.map_or("", |(name, _)| name)]);
    if data_type == DataType::Int { format!("an {name}") } else { format!("a {name}") }
}
