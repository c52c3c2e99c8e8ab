//! Checks the `Host` of a request: an HTTP/1.1 request has exactly one (RFC 9112, 3.2).

use http::header::HOST;
use http::{Request, Version};

/// Whether the request has as many `Host` headers as its version requires. One may be empty.
pub(super) fn is_valid<B>(request: &Request<B>) -> bool {
    let hosts = request.headers().get_all(HOST).iter().count();
    hosts == 1 || (hosts == 0 && request.version() < Version::HTTP_11)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_1_1_names_one_host_and_1_0_at_most_one() {
        let request = |version, hosts: usize| {
            let request = Request::get("/").version(version);
            let request = (0..hosts).fold(request, |request, _| request.header(HOST, "a"));
            is_valid(&request.body(()).unwrap())
        };
        let of = |version| [0, 1, 2].map(|hosts| request(version, hosts));
        assert_eq!(of(Version::HTTP_11), [false, true, false]);
        assert_eq!(of(Version::HTTP_10), [true, true, false]);
    }
}
