//! The golden files of the wire (`tests/fixtures/wire`). Cases are only added, never changed. The
//! page reads the same files under Node.js (`tests/page`).

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use messaging::ports::LogEntry;
use model::{
    ChannelUpdate, EditMessage, ErrorCode, KnownMessages, Message, MessageId, NewAttachment,
    NewChannel, NewMessage, ProfileUpdate, Retry, Rev, limits,
};
use protocol::client_frame::Hello;
use protocol::close::{AfterClose, CloseCode};
use protocol::frame::ServerFrame;
use protocol::http::{
    AddMembersBody, AddedBody, AttachmentBody, ChangedBody, ChannelBody, ChannelsBody, ConnectBody,
    EditedBody, Fields, MarkReadBody, MarkUnreadBody, MarksBody, MembersBody, PageBody, PostedBody,
    ProfileBody, ProfilesBody, ReactionsBody, UnreadBody, UnreadMarkBody, read_json,
};
use protocol::problem::Problem;
use protocol::publication::{Publication, Recipients};
use protocol::signal::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::store::EmptyTables;

/// The cases of a file.
fn golden(file: &str) -> Vec<Value> {
    let path = format!("{}/fixtures/wire/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty(), "{path}");
    cases
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap()
}

#[test]
fn frames_of_nodes_are_read_and_written() {
    for case in golden("server_frames") {
        let frame = ServerFrame::decode(text(&case, "text")).unwrap();
        let is_known = !matches!(frame, ServerFrame::Unknown { .. });
        // Null: part of it is from a later version, but the known part is read.
        assert_eq!(is_known, case["known"] != false, "{case}");
        if case["known"] == true {
            assert_eq!(frame.encode(), text(&case, "text"), "{case}");
        }
    }
}

#[test]
fn frames_of_clients_are_accepted_or_close_the_socket() {
    for case in golden("client_frames") {
        let close = Hello::decode(text(&case, "text")).err().map(CloseCode::number);
        assert_eq!(json!(close), case["close"], "{case}");
    }
}

#[test]
fn publications_are_read_and_written() {
    for case in golden("publications") {
        let (id, wire) = (text(&case, "id").parse().unwrap(), text(&case, "wire"));
        let publication = Publication::decode(id, wire);
        let to = match &publication.to {
            Recipients::Channel(_) => "channel",
            Recipients::User(_) => "user",
            Recipients::Workspace => "workspace",
            Recipients::Nobody => "nobody",
            Recipients::Unknown => "unknown",
        };
        assert_eq!(to, case["to"], "{case}");
        if to != "unknown" {
            assert_eq!(publication.encode(), wire, "{case}");
        }
    }
}

#[test]
fn signals_are_read_and_written() {
    for case in golden("signals") {
        let signal = Signal::decode(text(&case, "wire").as_bytes());
        assert_eq!(signal != Signal::Unknown, case["known"] == true, "{case}");
        if case["known"] == true {
            assert_eq!(signal.encode(), text(&case, "wire"), "{case}");
        }
    }
}

#[tokio::test]
async fn rows_are_read_and_written() {
    for case in golden("rows") {
        let entry = dynamo::decode_log_image(&case["row"]).unwrap().unwrap();
        match entry {
            LogEntry::Message(stored) => {
                assert_eq!(json!(stored.message), case["message"], "{case}");
                if case["writes"] == true {
                    assert_eq!(EmptyTables::create().await.row_of(&stored).await, case["row"]);
                }
            }
            LogEntry::Redirect(redirect) => {
                assert_eq!(redirect.target.to_string(), case["target"], "{case}");
            }
            LogEntry::Unknown { .. } => assert_eq!(case["unknown"], true, "{case}"),
        }
    }
}

#[test]
fn answers_are_read_and_written() {
    fn again<T: DeserializeOwned + Serialize>(body: &Value) -> Value {
        json!(serde_json::from_value::<T>(body.clone()).unwrap())
    }
    for case in golden("answers") {
        let body = &case["body"];
        let written = match text(&case, "call") {
            "POST /messages" => again::<PostedBody>(body),
            "GET /scroll" | "GET /mentions" | "GET /channels/{channel_id}/pins" => {
                again::<PageBody>(body)
            }
            "PATCH /channels/{channel_id}/messages/{id}" => again::<EditedBody>(body),
            "DELETE /channels/{channel_id}/messages/{id}"
            | "PUT /channels/{channel_id}/messages/{id}/reactions/{emoji}"
            | "PUT /channels/{channel_id}/pins/{id}" => again::<Message>(body),
            "GET /channels/{channel_id}/messages/{id}/reactions" => again::<ReactionsBody>(body),
            "POST /read" => again::<MarksBody>(body),
            "POST /channels/{channel_id}/unread" => again::<UnreadMarkBody>(body),
            "GET /unread" => again::<UnreadBody>(body),
            "GET /channels" => again::<ChannelsBody>(body),
            "POST /attachments" => again::<AttachmentBody>(body),
            "GET /channels/{channel_id}" | "PATCH /channels/{channel_id}" => {
                let channel: ChannelBody = serde_json::from_value(body.clone()).unwrap();
                json!(ChannelBody::of(&channel.read().unwrap()))
            }
            "GET /users/{user_id}" | "PUT /users/{user_id}" => {
                let profile: ProfileBody = serde_json::from_value(body.clone()).unwrap();
                json!(ProfileBody::of(&profile.read().unwrap()))
            }
            "GET /users" => again::<ProfilesBody>(body),
            "GET /channels/{channel_id}/members" => again::<MembersBody>(body),
            "POST /channels/{channel_id}/members" => again::<AddedBody>(body),
            "GET /connect" => again::<ConnectBody>(body),
            _ => again::<ChangedBody>(body),
        };
        // False: an earlier version wrote it.
        if case["writes"] != false {
            assert_eq!(written, *body, "{case}");
        }
    }
}

#[test]
fn requests_are_accepted_or_refused_with_code_and_field() {
    for case in golden("requests") {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, "application/json".parse().unwrap())]);
        let fields: Fields = read_json(&headers, case["body"].to_string().as_bytes()).unwrap();
        let problem: Option<Problem> = match text(&case, "call") {
            "POST /messages" => NewMessage::try_from(fields).err(),
            "POST /attachments" => NewAttachment::try_from(fields).err(),
            "POST /channels" => NewChannel::try_from(fields).err(),
            "PATCH /channels/{channel_id}/messages/{id}" => EditMessage::try_from(fields).err(),
            "PATCH /channels/{channel_id}" => ChannelUpdate::try_from(fields).err(),
            "PUT /users/{user_id}" => ProfileUpdate::try_from(fields).err(),
            "POST /read" => MarkReadBody::try_from(fields).err(),
            "POST /channels/{channel_id}/unread" => MarkUnreadBody::try_from(fields).err(),
            _ => AddMembersBody::try_from(fields).err(),
        };
        let problem = problem.map(|problem| {
            let body: Value = serde_json::from_slice(problem.into_response("R").body()).unwrap();
            json!([body["code"], body["field"]])
        });
        assert_eq!(json!(problem), case["error"], "{case}");
    }
}

#[test]
fn close_codes_say_what_clients_do_next() {
    let then = |code: CloseCode| match code.after() {
        AfterClose::ResumeElsewhere => "report the node and resume",
        AfterClose::Resume => "resume",
        AfterClose::ResumeAfterWait => "wait and resume",
        AfterClose::WithFreshToken => "fresh token",
        AfterClose::Stop => "stop",
    };
    let known = CloseCode::ALL
        .iter()
        .map(|code| json!({ "code": code.number(), "reason": code.as_str(), "then": then(*code) }));
    assert_eq!(known.collect::<Vec<_>>(), golden("close_codes"));
}

#[test]
fn error_codes_say_whether_a_retry_may_help() {
    let retry = |code: ErrorCode| match code.retry() {
        Retry::Never => "never",
        Retry::AfterBackoff => "after backoff",
        Retry::WithFreshToken => "with a fresh token",
    };
    let known = ErrorCode::ALL.iter().map(
        |code| json!({ "code": code.as_str(), "status": code.status(), "retry": retry(*code) }),
    );
    assert_eq!(known.collect::<Vec<_>>(), golden("error_codes"));
}

#[test]
fn limits_of_clients_match_the_file() {
    let ms = |duration: Duration| duration.as_millis();
    let known = [
        json!({ "name": "message_characters", "value": limits::MESSAGE_CHARS_MAX }),
        json!({ "name": "body_bytes", "value": limits::BODY_BYTES_MAX }),
        json!({ "name": "id_characters", "value": limits::ID_CHARS_MAX }),
        json!({ "name": "channel_name_characters", "value": limits::CHANNEL_NAME_CHARS_MAX }),
        json!({ "name": "members_a_call", "value": limits::CREATE_MEMBERS_MAX }),
        json!({ "name": "page_rows", "value": limits::PAGE_ROWS_MAX }),
        json!({ "name": "known_messages", "value": limits::KNOWN_MESSAGES_MAX }),
        json!({ "name": "id_past_ms", "value": ms(limits::PAST) }),
        json!({ "name": "id_future_ms", "value": ms(limits::FUTURE) }),
        json!({ "name": "id_redirect_past_ms", "value": ms(limits::REDIRECT_PAST_MAX) }),
        json!({ "name": "id_redirect_future_ms", "value": ms(limits::REDIRECT_FUTURE_MAX) }),
        json!({ "name": "after_ahead_ms", "value": ms(limits::AFTER_MAX) }),
        json!({ "name": "overlap_ms", "value": ms(limits::OVERLAP) }),
        json!({ "name": "hello_wait_ms", "value": ms(limits::HELLO_WAIT_MAX) }),
        json!({ "name": "client_frame_bytes", "value": limits::CLIENT_FRAME_BYTES_MAX }),
        json!({ "name": "client_frames_a_second", "value": limits::CLIENT_FRAMES_PER_SECOND_MAX }),
        json!({ "name": "client_bytes_a_second", "value": limits::CLIENT_BYTES_PER_SECOND_MAX }),
        json!({ "name": "cursor_bytes", "value": limits::CURSOR_BYTES_MAX }),
        json!({ "name": "sockets_a_user", "value": limits::SOCKETS_PER_USER_MAX }),
        json!({ "name": "tick_ms", "value": ms(limits::TICK) }),
        json!({ "name": "ticket_ms", "value": ms(limits::TICKET_TTL) }),
        json!({ "name": "topic_characters", "value": limits::TOPIC_CHARS_MAX }),
        json!({ "name": "profile_name_characters", "value": limits::PROFILE_NAME_CHARS_MAX }),
        json!({ "name": "avatar_bytes", "value": limits::AVATAR_BYTES_MAX }),
        json!({ "name": "status_characters", "value": limits::STATUS_CHARS_MAX }),
        json!({ "name": "status_emoji_bytes", "value": limits::STATUS_EMOJI_BYTES_MAX }),
        json!({ "name": "time_zone_bytes", "value": limits::TZ_BYTES_MAX }),
        json!({ "name": "file_bytes", "value": limits::ATTACHMENT_BYTES_MAX }),
        json!({ "name": "files_a_message", "value": limits::ATTACHMENTS_MAX }),
        json!({ "name": "file_name_bytes", "value": limits::FILE_NAME_BYTES_MAX }),
        json!({ "name": "media_type_bytes", "value": limits::MEDIA_TYPE_BYTES_MAX }),
        json!({ "name": "upload_ms", "value": ms(limits::UPLOAD_URL_TTL) }),
        json!({ "name": "download_ms", "value": ms(limits::DOWNLOAD_URL_TTL) }),
        json!({ "name": "unnamed_file_ms", "value": ms(limits::UNNAMED_FILE_MAX) }),
    ];
    assert_eq!(known.to_vec(), golden("limits"));
}

#[test]
fn marks_of_known_messages_match_the_file() {
    for case in golden("known") {
        let offset: MessageId = text(&case, "offset").parse().unwrap();
        let revs: BTreeMap<String, String> = serde_json::from_value(case["revs"].clone()).unwrap();
        let revs: Vec<Rev> = revs.values().map(|rev| Rev::parse(rev).unwrap()).collect();
        let known = KnownMessages::of(Some(offset), &revs).unwrap();
        assert_eq!(known.to_string(), case["known"], "{case}");
    }
}
