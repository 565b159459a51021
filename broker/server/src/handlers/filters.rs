use std::sync::Arc;

use millrace_protocol::{
    Answer, AttachFilter, AttachedFilters, Done, FilterPlace, FilterRequest, ResponseCode,
};

use crate::dispatch::Exchange;
use crate::filters::{FilterError, Filters};
use crate::reactor::Output;

/// The longest module.
pub(crate) const MODULE_BYTES_MAX: usize = 4 << 20;

/// Codes 9005 to 9007.
pub(crate) fn answer(exchange: &mut Exchange<'_, '_>, request: &FilterRequest<'_>) {
    match request {
        FilterRequest::Attach(request) => attach(exchange, request),
        FilterRequest::Detach(place) => {
            let place = owned(place);
            later(exchange, move |filters, caller| filters.detach(caller, &place).map(|()| Done));
        }
        FilterRequest::List => {
            let all = AttachedFilters(exchange.shell.filters.list());
            exchange.answer(&all);
        }
    }
}

fn attach(exchange: &mut Exchange<'_, '_>, request: &AttachFilter<'_>) {
    let len = request.module.len();
    if len > MODULE_BYTES_MAX {
        let remark =
            format!("a module has at most {MODULE_BYTES_MAX} bytes, and this one has {len}");
        return exchange.refuse(ResponseCode::INVALID_PARAMETER, remark);
    }
    let place = owned(&request.place);
    let terms = millrace_protocol::FilterTerms {
        params: request.terms.params.clone().into_owned().into(),
        on_failure: request.terms.on_failure.clone().into_owned().into(),
    };
    let module = request.module.to_vec();
    later(exchange, move |filters, caller| {
        let request = AttachFilter { place, terms, module: &module };
        filters.attach(caller, &request).map(|attached| AttachedFilters(vec![attached]))
    });
}

fn owned(place: &FilterPlace<'_>) -> FilterPlace<'static> {
    let own = |name: &Option<std::borrow::Cow<'_, str>>| {
        name.as_ref().map(|name| name.clone().into_owned().into())
    };
    FilterPlace { group: own(&place.group), topic: own(&place.topic) }
}

/// Compiling takes its time, and so does the disk.
fn later<A: Answer>(
    exchange: &mut Exchange<'_, '_>,
    act: impl FnOnce(&Filters, &millrace_engine::Caller) -> Result<A, FilterError> + Send + 'static,
) {
    let (filters, caller) = (Arc::clone(&exchange.shell.filters), exchange.caller.clone());
    let to = exchange.to;
    exchange.chore(move || {
        let mut output = Output::default();
        match act(&filters, &caller) {
            Ok(answer) => output.write(|out| answer.write(to.kind, to.opaque, out)),
            Err(error) => output.write(|out| error.refused().write(to.kind, to.opaque, out)),
        }
        output
    });
}
