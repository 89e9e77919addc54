//! One HTTP request, and what it means where there is no answer.

use super::ask::{Answer, plain};
use crate::time::Span;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// A longer body is not read.
const LONGEST_BODY: u64 = 1 << 20;

/// An answer.
pub(super) struct Reply {
    pub(super) status: u16,
    /// Its body; `None` where that is too long to be read.
    pub(super) body: Option<Vec<u8>>,
    pub(super) took_ms: f64,
}

/// Asks for `url`, with the pairs of `query` behind it. Where there is no answer: what that says about whoever should have given
/// it. The password in an address and `authorization` are sent and never told.
pub(super) fn get(url: &str, query: &[(&str, &str)], authorization: Option<&str>, limit: Duration) -> Result<Reply, Box<Answer>> {
    if url.starts_with("https://") {
        return Err(Box::new(Answer::unknown("https is not spoken here: name a plain http address, or use a command probe")));
    }
    if !url.starts_with("http://") {
        return Err(Box::new(Answer::unknown(format!("'{}' is not an address that begins with http://", url.escape_debug()))));
    }
    // A redirect is an answer; where it leads to may be a login page, which answers for somebody else. A proxy from the
    // environment would answer for a service that is down.
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(limit))
        // Within the whole, so that a name server that is silent is not taken for a service that is.
        .timeout_resolve(Some(limit.mul_f64(0.9)))
        .user_agent("eco-health")
        .build()
        .into();
    let began = Instant::now();
    let mut request = agent.get(url).query_pairs(query.iter().copied());
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    let failed = |e: &ureq::Error| Box::new(failure(e, limit));
    let mut response = request.call().map_err(|e| failed(&e))?;
    let body = match response.body_mut().with_config().limit(LONGEST_BODY).read_to_vec() {
        Ok(body) => Some(body),
        Err(ureq::Error::BodyExceedsLimit(_)) => None,
        Err(e) => return Err(failed(&e)),
    };
    Ok(Reply { status: response.status().as_u16(), body, took_ms: (began.elapsed().as_secs_f64() * 1e6).round() / 1e3 })
}

fn failure(error: &ureq::Error, limit: Duration) -> Answer {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Resolve) => Answer::unknown(format!("the name of the host was not found within {}", Span(limit))),
        ureq::Error::Timeout(_) => Answer::no(format!("no answer within {}", Span(limit))),
        ureq::Error::Io(e) => connect_failure(e, limit),
        ureq::Error::ConnectionFailed => Answer::no("no connection"),
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => Answer::no("what it answered is not HTTP"),
        ureq::Error::HostNotFound => Answer::unknown("the name of the host is not known"),
        other => Answer::unknown(other.to_string()),
    }
}

/// What a connection that did not come about says.
pub(super) fn connect_failure(error: &io::Error, limit: Duration) -> Answer {
    match error.kind() {
        _ if is_lookup(error) => Answer::unknown("the name of the host is not known"),
        ErrorKind::ConnectionRefused => Answer::no("connection refused"),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Answer::no(format!("no answer within {}", Span(limit))),
        ErrorKind::PermissionDenied | ErrorKind::AddrNotAvailable | ErrorKind::InvalidInput => Answer::unknown(plain(error)),
        // Out of descriptors: our trouble, not the service's.
        _ if matches!(error.raw_os_error(), Some(23 | 24)) => Answer::unknown(plain(error)),
        _ => Answer::no(plain(error)),
    }
}

/// The standard library has no kind for a name that was not found, only this text.
fn is_lookup(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && error.to_string().starts_with("failed to lookup address")
}
