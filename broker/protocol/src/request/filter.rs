use std::borrow::Cow;

use crate::fields::fields;
use crate::{Call, FieldWriter, Fields, FieldsError, RequestCode};

fields! {
    /// Names what a filter is attached to: a group, a topic, or a group in one topic.
    pub struct FilterPlace<'a> {
        /// The group.
        group: Option<Cow<'a, str>> = "group",
        /// The topic.
        topic: Option<Cow<'a, str>> = "topic",
    }
}

fields! {
    /// How a filter is attached.
    pub struct FilterTerms<'a> {
        /// The module's parameters, a JSON object.
        params: Cow<'a, str> = "params" or Cow::Borrowed("{}"),
        /// `deliver` or `drop`: what becomes of a message that the module fails at.
        on_failure: Cow<'a, str> = "onFailure" or Cow::Borrowed("deliver"),
    }
}

/// Ours: attaches a filter, in the place of the one that was there before. The body is the module.
/// The answer is [`crate::AttachedFilters`] with this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachFilter<'a> {
    /// To what.
    pub place: FilterPlace<'a>,
    /// How.
    pub terms: FilterTerms<'a>,
    /// The module.
    pub module: &'a [u8],
}

/// What our tools ask about filters in a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterRequest<'a> {
    /// Code 9005: attaches one.
    Attach(AttachFilter<'a>),
    /// Code 9006: takes it away. The answer is [`crate::Done`], or 22 if there is none.
    Detach(FilterPlace<'a>),
    /// Code 9007: which there are. The answer is [`crate::AttachedFilters`].
    List,
}

impl<'a> FilterRequest<'a> {
    pub(crate) fn attach(fields: &Fields<'a>, module: &'a [u8]) -> Result<Self, FieldsError> {
        let (place, terms) = (fields.read()?, fields.read()?);
        Ok(Self::Attach(AttachFilter { place, terms, module }))
    }
}

impl Call for FilterRequest<'_> {
    fn code(&self) -> RequestCode {
        match self {
            Self::Attach(_) => RequestCode::MR_ATTACH_FILTER,
            Self::Detach(_) => RequestCode::MR_DETACH_FILTER,
            Self::List => RequestCode::MR_LIST_FILTERS,
        }
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        match self {
            Self::Attach(attach) => {
                attach.place.write_fields(to);
                attach.terms.write_fields(to);
            }
            Self::Detach(place) => place.write_fields(to),
            Self::List => {}
        }
    }

    fn body(&self, out: &mut Vec<u8>) {
        if let Self::Attach(attach) = self {
            out.extend_from_slice(attach.module);
        }
    }
}
