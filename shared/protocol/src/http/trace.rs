//! The trace of a request, from its headers.

use http::{HeaderMap, HeaderName};
use model::TraceId;

/// The trace of a request: from `traceparent` (W3C Trace Context) if the caller sent one, else from
/// `X-Amzn-Trace-Id`, which the platform adds. A malformed or repeated header is ignored.
#[must_use]
pub fn trace(headers: &HeaderMap) -> Option<TraceId> {
    one(headers, &TRACEPARENT)
        .and_then(of_traceparent)
        .or_else(|| one(headers, &AMAZON_TRACE).and_then(of_amazon))
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        (_, _) => None,
    }
}

/// `00-<trace>-<parent>-<flags>`; later versions may append more.
fn of_traceparent(text: &str) -> Option<TraceId> {
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut parts = text.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let (parent, flags) = (parts.next()?, parts.next()?);
    let is_known = version != "00" || parts.next().is_none();
    let is_parent = is_hex(parent, 16) && parent.bytes().any(|byte| byte != b'0');
    let is_whole = is_hex(version, 2) && version != "ff" && is_parent && is_hex(flags, 2);
    TraceId::parse(trace).filter(|_| is_known && is_whole)
}

/// `Root=1-<8 digits>-<24 digits>;…`: all the digits together are the trace.
fn of_amazon(text: &str) -> Option<TraceId> {
    let root = text.split(';').find_map(|part| part.trim().strip_prefix("Root=1-"))?;
    let (time, random) = root.split_once('-')?;
    (time.len() == 8 && random.len() == 24).then(|| TraceId::parse(&format!("{time}{random}")))?
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header in which the platform puts a request's trace.
pub const AMAZON_TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn of(pairs: &[(&'static str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        trace(&headers).map(|trace| trace.to_string())
    }

    #[test]
    fn a_callers_trace_is_taken_first() {
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let amazon = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let both = [("traceparent", parent.as_str()), ("x-amzn-trace-id", amazon)];
        assert_eq!(of(&both).as_deref(), Some(TRACE));
        let of_amazon = of(&[("x-amzn-trace-id", amazon)]);
        assert_eq!(of_amazon.as_deref(), Some("5759e988bd862e3fe1be46a994272793"));
        let own =
            "Self=1-67891234-12456789abcdef012345678;Root=1-67891233-abcdef012345678912345678";
        let of_amazon = of(&[("x-amzn-trace-id", own)]);
        assert_eq!(of_amazon.as_deref(), Some("67891233abcdef012345678912345678"));
        let later = format!("cc-{TRACE}-00f067aa0ba902b7-01-what-comes-then");
        assert_eq!(of(&[("traceparent", &later)]).as_deref(), Some(TRACE));
    }

    #[test]
    fn what_is_malformed_is_none() {
        for text in [
            "",
            TRACE,
            "00-0-0-0",
            &format!("00-{TRACE}-00f067aa0ba902b7"),
            &format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            &format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            &format!("00-{TRACE}-0000000000000000-01"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            &format!("00-{TRACE}-00f067aa0ba902b7-0g"),
        ] {
            assert_eq!(of(&[("traceparent", text)]), None, "{text}");
        }
        for text in ["", "Root=1-5759e988", "Root=2-5759e988-bd862e3fe1be46a994272793", "Root=1--"]
        {
            assert_eq!(of(&[("x-amzn-trace-id", text)]), None, "{text}");
        }
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        assert_eq!(of(&[("traceparent", &parent), ("traceparent", &parent)]), None);
    }
}
