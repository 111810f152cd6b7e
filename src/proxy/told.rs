//! What upstreams were told of a connection's requests, so that it need not be written anew for
//! each of them.

use std::cell::RefCell;

use http::HeaderValue;

use super::forwarded::Origin;

/// What upstreams are told of the requests of one connection: most come from the same place and
/// ask for the same host, so what was written for the last one is good for the next.
#[derive(Debug, Default)]
pub(super) struct Told(RefCell<Option<Written>>);

/// What was written of a request that came straight from the peer.
#[derive(Debug)]
struct Written {
    /// A copy: the client's own field would keep all that was read together with it.
    host: HeaderValue,
    list: HeaderValue,
    description: HeaderValue,
}

impl Told {
    /// This host as a field's value, if the last request was for the same.
    pub(super) fn host(&self, host: &str) -> Option<HeaderValue> {
        let written = self.0.borrow();
        let same = written.as_ref().filter(|written| written.host == host)?;
        Some(same.host.clone())
    }

    /// The list of addresses and the same as RFC 7239 has it, of a request for `host`.
    ///
    /// Addresses and checked host names are visible ASCII. Should one ever not be, there is
    /// nothing to tell.
    pub(super) fn of(
        &self,
        origin: &Origin,
        host: &HeaderValue,
    ) -> Option<(HeaderValue, HeaderValue)> {
        if let Some(written) = &*self.0.borrow()
            && origin.is_observed()
            && written.host == host
        {
            return Some((written.list.clone(), written.description.clone()));
        }
        let list = HeaderValue::try_from(origin.list()).ok()?;
        let description = HeaderValue::try_from(origin.description(host)).ok()?;
        if origin.is_observed() {
            *self.0.borrow_mut() = Some(Written {
                host: HeaderValue::from_bytes(host.as_bytes()).ok()?,
                list: list.clone(),
                description: description.clone(),
            });
        }
        Some((list, description))
    }
}
