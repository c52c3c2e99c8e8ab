//! Decodes rows as the table's stream carries them: the JSON form of attribute values.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use messaging::ports::LogEntry;
use model::MessageId;
use serde_json::Value;

use crate::item::{MalformedRow, ROW_KIND, decode_log_entry};
use crate::keys;

/// Reads the new image of a stream record of the messages table, `{"s": {"S": "ada"}, …}`. `None`
/// for a later version's row beside the messages: it has a kind, and its sort key is no ULID.
///
/// # Errors
/// [`MalformedRow`] if it has no kind and is neither a message nor a redirect.
pub fn decode_log_image(image: &Value) -> Result<Option<LogEntry>, MalformedRow> {
    let attributes = image.as_object().into_iter().flatten();
    let row: HashMap<_, _> =
        attributes.map(|(name, value)| (name.clone(), attribute_value(value))).collect();
    if is_beside_messages(&row) { Ok(None) } else { decode_log_entry(&row).map(Some) }
}

fn is_beside_messages(row: &HashMap<String, AttributeValue>) -> bool {
    let sort_key = row.get(keys::CREATED_AT).and_then(|key| key.as_s().ok());
    sort_key.is_some_and(|key| row.contains_key(ROW_KIND) && MessageId::parse(key).is_err())
}

/// Decodes the types that a log entry uses. Any other becomes null, which we never write.
fn attribute_value(value: &Value) -> AttributeValue {
    let text = |kind: &str| value.get(kind).and_then(Value::as_str);
    if let Some(string) = text("S") {
        AttributeValue::S(string.to_owned())
    } else if let Some(digits) = text("N") {
        AttributeValue::N(digits.to_owned())
    } else if let Some(Ok(bytes)) = text("B").map(aws_smithy_types::base64::decode) {
        AttributeValue::B(Blob::new(bytes))
    } else {
        AttributeValue::Null(true)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redirect() -> Value {
        json!({
            "channel_id": { "S": "C00000000000000000000000000" },
            "created_at": { "S": "00000000000000000000000001" },
            "r": { "S": "00000000000000000000000002" },
            "s": { "S": "ada" },
            "d": { "B": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" },
            "x": { "N": "1700000000" },
        })
    }

    #[test]
    fn messages_and_redirects_are_read_from_images() {
        let Ok(Some(LogEntry::Redirect(read))) = decode_log_image(&redirect()) else {
            panic!("it is a redirect")
        };
        assert_eq!((read.sender_id.as_str(), read.digest.0), ("ada", [0; 32]));

        let mut image = redirect();
        let row = image.as_object_mut().unwrap();
        row.remove("r");
        row.insert("t".to_owned(), json!({ "S": "hello" }));
        row.insert("v".to_owned(), json!({ "N": "7" }));
        let Ok(Some(LogEntry::Message(read))) = decode_log_image(&image) else {
            panic!("it is a message")
        };
        assert_eq!((read.message.text.as_str(), read.members_version), ("hello", 7));
    }

    #[test]
    fn rows_of_a_later_version_are_known_by_their_kind() {
        let mut image = json!({
            "channel_id": { "S": "C00000000000000000000000000" },
            "created_at": { "S": "00000000000000000000000001" },
            "k": { "S": "poll" },
            "q": { "M": { "any": { "BOOL": true } } },
        });
        let Ok(Some(LogEntry::Unknown { id, .. })) = decode_log_image(&image) else {
            panic!("it is of an unknown kind")
        };
        assert_eq!(id.to_string(), "00000000000000000000000001");
        image["created_at"] = json!({ "S": "c#00000000000000000000000001" });
        assert_eq!(decode_log_image(&image), Ok(None));
        // Without a kind the row is damaged, which is an error.
        image.as_object_mut().unwrap().remove("k");
        assert_eq!(decode_log_image(&image).unwrap_err().attribute, "created_at");
    }

    #[test]
    fn anything_else_is_malformed_and_no_panic() {
        let mut short = redirect();
        short["d"] = json!({ "B": "not base 64" });
        assert_eq!(decode_log_image(&short).unwrap_err().attribute, "d");
        for image in [json!(null), json!([]), json!({ "s": "ada" }), json!({ "s": { "S": 7 } })] {
            assert_eq!(decode_log_image(&image).unwrap_err().attribute, "channel_id");
        }
    }
}
