use std::borrow::Cow;

use millrace_types::{PhysicalOffset, QueueId, QueueOffset};

use super::{FieldText, FieldWriter};

/// A type that is one field's value.
pub trait FieldValue<'a>: Sized {
    /// Reads a value that is present; `None` if it is not allowed.
    fn read(text: FieldText<'a>) -> Option<Self>;

    /// What an absent field means; `None` if the field is required.
    fn absent() -> Option<Self> {
        None
    }

    /// Whether a value that is present says that there is none, as a negative offset does.
    fn says_none(_text: FieldText<'a>) -> bool {
        false
    }

    /// Writes the field.
    fn write(&self, name: &str, to: &mut FieldWriter<'_>);
}

impl<'a> FieldValue<'a> for Cow<'a, str> {
    fn read(text: FieldText<'a>) -> Option<Self> {
        text.text()
    }
    fn write(&self, name: &str, to: &mut FieldWriter<'_>) {
        to.text(name, self);
    }
}

impl<'a> FieldValue<'a> for bool {
    fn read(text: FieldText<'a>) -> Option<Self> {
        Some(text.flag())
    }
    fn write(&self, name: &str, to: &mut FieldWriter<'_>) {
        to.text(name, if *self { "true" } else { "false" });
    }
}

impl<'a> FieldValue<'a> for i32 {
    fn read(text: FieldText<'a>) -> Option<Self> {
        text.int()
    }
    fn write(&self, name: &str, to: &mut FieldWriter<'_>) {
        to.int(name, i64::from(*self));
    }
}

impl<'a> FieldValue<'a> for i64 {
    fn read(text: FieldText<'a>) -> Option<Self> {
        text.int()
    }
    fn write(&self, name: &str, to: &mut FieldWriter<'_>) {
        to.int(name, *self);
    }
}

impl<'a> FieldValue<'a> for QueueId {
    fn read(text: FieldText<'a>) -> Option<Self> {
        let id: i32 = text.int()?;
        u32::try_from(id).ok().map(Self)
    }
    fn write(&self, name: &str, to: &mut FieldWriter<'_>) {
        to.int(name, i64::from(self.0));
    }
}

impl<'a> FieldValue<'a> for QueueOffset {
    fn read(text: FieldText<'a>) -> Option<Self> {
        Self::from_wire(text.int()?)
    }
    fn says_none(text: FieldText<'a>) -> bool {
        text.int::<i64>().is_some_and(|offset| offset < 0)
    }
    fn write(&self, name: &str, to: &mut FieldWriter<'_>) {
        to.int(name, self.to_wire());
    }
}

impl<'a> FieldValue<'a> for PhysicalOffset {
    fn read(text: FieldText<'a>) -> Option<Self> {
        let offset: i64 = text.int()?;
        u64::try_from(offset).ok().map(Self)
    }
    fn write(&self, name: &str, to: &mut FieldWriter<'_>) {
        to.int(name, i64::try_from(self.0).unwrap_or(i64::MAX));
    }
}

impl<'a, T: FieldValue<'a>> FieldValue<'a> for Option<T> {
    fn read(text: FieldText<'a>) -> Option<Self> {
        if T::says_none(text) { Some(None) } else { T::read(text).map(Some) }
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
    fn write(&self, name: &str, to: &mut FieldWriter<'_>) {
        if let Some(value) = self {
            value.write(name, to);
        }
    }
}
