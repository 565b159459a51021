//! Values to other types.

use std::borrow::Cow;

use crate::number::Number;
use crate::{EvalError, Type, Value, time};

use super::tree::read_boolean;

/// The type that a `CAST` names, with the word for it.
pub(super) const TYPES: [(&str, Type); 7] = [
    ("INT", Type::Int),
    ("BIGINT", Type::Int),
    ("DOUBLE", Type::Double),
    ("STRING", Type::Text),
    ("BOOLEAN", Type::Bool),
    ("TIMESTAMP", Type::Timestamp),
    ("DATE", Type::Date),
];

/// Whether any value of one type can be cast to the other.
pub(crate) fn exists(from: Type, to: Type) -> bool {
    let is_time = |of: Type| matches!(of, Type::Timestamp | Type::Date);
    match (from, to) {
        (Type::Text, _) | (_, Type::Text) => true,
        _ => is_time(from) == is_time(to),
    }
}

/// `CAST(value AS to)`.
pub(crate) fn cast<'a>(value: Value<'a>, to: Type) -> Result<Value<'a>, EvalError> {
    let cast = match (value.type_of(), to) {
        (None, _) => return Ok(Value::Null),
        (Some(from), _) if from == to => return Ok(value),
        (Some(from), _) if !exists(from, to) => {
            Err("there is no such conversion; a number does not say whether it counts seconds or \
                 milliseconds")
        }
        (_, Type::Int) => to_int(&value),
        (_, Type::Double) => to_double(&value),
        (_, Type::Text) => Ok(Value::Text(Cow::Owned(value.to_string()))),
        (_, Type::Bool) => to_bool(&value),
        (_, Type::Timestamp) => to_timestamp(&value),
        (_, Type::Date) => to_date(&value),
    };
    cast.map_err(|reason| EvalError::Cast { found: value.described(), to, reason })
}

/// `DATE(value)`: the day of an instant, in UTC.
pub(super) fn date<'a>(value: Value<'a>) -> Result<Value<'a>, EvalError> {
    match value {
        Value::Int(_) | Value::Double(_) | Value::Bool(_) => {
            Err(EvalError::Unsuitable { function: "DATE", found: value.described() })
        }
        _ => cast(value, Type::Date),
    }
}

/// A double loses its fraction; a text must be whole.
fn to_int(value: &Value<'_>) -> Result<Value<'static>, &'static str> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    match value {
        Value::Bool(value) => Ok(Value::Int(i64::from(*value))),
        Value::Double(double) => {
            let whole = double.trunc();
            let fits = (-TWO_TO_63..TWO_TO_63).contains(&whole);
            if fits { Ok(Value::Int(whole as i64)) } else { Err("it does not fit 64 bits") }
        }
        Value::Text(text) => match Number::read(text) {
            Some(Number::Int(int)) => Ok(Value::Int(int)),
            Some(Number::Double(double)) if double.fract() == 0.0 => to_int(&Value::Double(double)),
            Some(Number::Double(_)) => Err("it has a fraction"),
            None => Err("it is no number"),
        },
        _ => Err("it is no number"),
    }
}

fn to_double(value: &Value<'_>) -> Result<Value<'static>, &'static str> {
    match value {
        Value::Bool(value) => Ok(Value::Double(f64::from(u8::from(*value)))),
        Value::Int(int) => Ok(Value::Double(*int as f64)),
        Value::Text(text) => {
            let number = Number::read(text).ok_or("it is no number")?;
            Ok(Value::Double(number.as_f64()))
        }
        _ => Err("it is no number"),
    }
}

fn to_bool(value: &Value<'_>) -> Result<Value<'static>, &'static str> {
    match value {
        Value::Int(0) => Ok(Value::Bool(false)),
        Value::Int(1) => Ok(Value::Bool(true)),
        Value::Text(text) => {
            read_boolean(text).map(Value::Bool).ok_or("it is neither `true` nor `false`")
        }
        _ => Err("it is neither 0 nor 1"),
    }
}

fn to_timestamp(value: &Value<'_>) -> Result<Value<'static>, &'static str> {
    let micros = match value {
        Value::Date(days) => time::midnight(*days).ok_or("it does not fit 64 bits")?,
        Value::Text(text) => {
            time::parse_timestamp(text).ok_or("it is in none of the forms that name an instant")?
        }
        _ => return Err("it is no instant"),
    };
    Ok(Value::Timestamp(micros))
}

fn to_date(value: &Value<'_>) -> Result<Value<'static>, &'static str> {
    let micros = match value {
        Value::Timestamp(micros) => *micros,
        Value::Text(text) => {
            time::parse_timestamp(text).ok_or("it is in none of the forms that name a day")?
        }
        _ => return Err("it is no instant"),
    };
    Ok(Value::Date(time::date_of(micros)))
}
