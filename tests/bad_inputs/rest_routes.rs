//! Unknown paths, and methods that a path does not have. They are refused before the token is read.

use crate::door::{Rest, all, stack};

pub(crate) fn cases() -> Vec<Rest> {
    let mut cases = Vec::new();
    for (path, allow) in [
        ("/messages", "POST"),
        ("/scroll", "GET"),
        ("/channels", "GET, POST"),
        ("/channels/x", "GET, PATCH, DELETE"),
        ("/channels/x/members", "GET, POST"),
        ("/channels/x/members/y", "PUT, DELETE"),
        ("/users", "GET"),
        ("/users/x", "GET, PUT, DELETE"),
        ("/connect", "GET"),
        ("/read", "POST"),
        ("/unread", "GET"),
        ("/mentions", "GET"),
        ("/channels/x/pins", "GET"),
        ("/channels/x/pins/y", "PUT, DELETE"),
        ("/channels/x/unread", "POST"),
        ("/attachments", "POST"),
        ("/attachments/x", "GET"),
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "get"] {
            if !allow.split(", ").any(|allowed| allowed == method) {
                let case = Rest::of(format!("{method} {path}"), method, path);
                cases.push(case.refused(405, "method_not_allowed").allow(allow));
            }
        }
    }
    for (name, path) in [
        ("unknown path", "/nope"),
        ("slash at the end", "/messages/"),
        ("more after messages", "/messages/x"),
        ("more after scroll", "/scroll/x"),
        ("more after connect", "/connect/N1"),
        ("more after read", "/read/x"),
        ("more after unread", "/unread/x"),
        ("more after mentions", "/mentions/x"),
        ("more after a pin", "/channels/x/pins/y/z"),
        ("more after a channel's unread", "/channels/x/unread/y"),
        ("attachments with an empty one", "/attachments/"),
        ("more after an attachment", "/attachments/x/y"),
        ("two slashes in front", "//messages"),
        ("upper case", "/Messages"),
        ("a dot segment", "/./messages"),
        ("a parent segment", "/channels/../messages"),
        ("an escaped slash in front", "/%2Fmessages"),
        ("an escaped slash between", "/channels%2Fx"),
        ("a NUL in the path", "/messages%00"),
        ("no channel id", "/channels/"),
        ("no user after members", "/channels/x/members/"),
        ("more after a member", "/channels/x/members/y/z"),
        ("not members", "/channels/x/messages"),
        ("members in upper case", "/channels/x/Members"),
        ("users with an empty one", "/users/"),
        ("more after a user", "/users/x/channels"),
        ("a version in front", "/v1/messages"),
        ("the development door without a call", "/dev"),
        ("an unknown call of development", "/dev/reset"),
        ("metrics at the gateway", "/metrics"),
        ("a file of the page that is none", "/page/../secrets"),
    ] {
        cases.push(Rest::of(name, "POST", path).refused(404, "not_found"));
    }
    // For an unknown path, neither the token nor the body is read.
    let bare = Rest::of("unknown path without a token", "GET", "/nope").without("Authorization");
    cases.push(bare.refused(404, "not_found"));
    let bare = Rest::of("wrong method without a token", "PUT", "/messages");
    cases.push(bare.without("Authorization").refused(405, "method_not_allowed").allow("POST"));
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_and_methods_are_checked_before_everything_else() {
    let cluster = stack(0).await;
    let url = cluster.url();
    all(cases(), |case| case.check(&url)).await;
}
