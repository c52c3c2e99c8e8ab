//! The page at `/` and its files, which are compiled into the binary.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};

/// Answers `/` and `/page/<file>`; `None` for any other path.
pub(super) fn respond(request: &Request<Bytes>) -> Option<Response<Bytes>> {
    let path = request.uri().path();
    let name = if path == "/" { "index.html" } else { path.strip_prefix("/page/")? };
    let (name, text) = FILES.iter().find(|(known, _)| *known == name)?;
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        *response.body_mut() = Bytes::new();
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    Some(response)
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        Some(_) | None => "application/octet-stream",
    }
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../page/", $name)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "index.html",
    "style.css",
    "favicon.svg",
    "api.js",
    "attachments.js",
    "browse.js",
    "channel_view.js",
    "channels.js",
    "clock.js",
    "closes.js",
    "completion.js",
    "composer.js",
    "contracts.js",
    "copies.js",
    "core.js",
    "deliveries.js",
    "dialogs.js",
    "dom.js",
    "drafts.js",
    "edge.js",
    "edits.js",
    "gaps.js",
    "got.js",
    "idle.js",
    "invisible.js",
    "ids.js",
    "layout.js",
    "listing.js",
    "lists.js",
    "local_db.js",
    "local_messages.js",
    "log.js",
    "logs.js",
    "main.js",
    "marks.js",
    "meeting.js",
    "meeting_view.js",
    "meetings.js",
    "mentions.js",
    "message_rows.js",
    "navigation.js",
    "notice.js",
    "outbox.js",
    "owners.js",
    "pace.js",
    "page.js",
    "panel.js",
    "people.js",
    "picker.js",
    "pins.js",
    "presence.js",
    "presence_view.js",
    "probes.js",
    "reactions.js",
    "reader.js",
    "profiles.js",
    "read_state.js",
    "receipts.js",
    "recovery.js",
    "replies.js",
    "roots.js",
    "rows.js",
    "screen.js",
    "send_queue.js",
    "sidebar.js",
    "silence.js",
    "socket.js",
    "storage.js",
    "store.js",
    "suggestions.js",
    "sync.js",
    "tab.js",
    "text.js",
    "thread_list.js",
    "thread_pane.js",
    "threads.js",
    "ticks.js",
    "ticks_view.js",
    "timeline.js",
    "tray.js",
    "typing.js",
    "typing_line.js",
    "unread.js",
    "view.js",
    "where.js",
    "where_view.js",
];

/// Allows scripts and styles from here only, images also from what the page has read, and sockets to this machine only.
const POLICY: &str = "default-src 'self'; \
    connect-src 'self' ws://127.0.0.1:* ws://localhost:*; \
    img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut served: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        served.sort_unstable();
        assert_eq!(served, names);
    }

    #[test]
    fn files_come_with_their_type_and_the_policy() {
        for (path, media_type) in [
            ("/", "text/html; charset=utf-8"),
            ("/?as=alice", "text/html; charset=utf-8"),
            ("/page/main.js", "text/javascript; charset=utf-8"),
            ("/page/style.css", "text/css; charset=utf-8"),
            ("/page/favicon.svg", "image/svg+xml"),
        ] {
            let response = respond(&Request::get(path).body(Bytes::new()).unwrap()).unwrap();
            assert_eq!(response.headers()["content-type"], media_type, "{path}");
            assert_eq!(response.headers()["content-security-policy"], POLICY);
        }
        for path in ["/page/", "/page/../secret", "/page/none.js", "/index.html"] {
            assert!(respond(&Request::get(path).body(Bytes::new()).unwrap()).is_none(), "{path}");
        }
        let post = respond(&Request::post("/").body(Bytes::new()).unwrap()).unwrap();
        assert_eq!((post.status().as_u16(), post.body().len()), (405, 0));
    }
}
