//! Reads the bodies of changes of channels and profiles.

use http::Uri;
use model::{ChannelUpdate, ProfileUpdate, is_invisible, limits};

use super::request::{Fields, channel_name};
use crate::problem::Problem;

/// The body of `PATCH /channels/{channel_id}`.
impl TryFrom<Fields> for ChannelUpdate {
    type Error = Problem;

    fn try_from(mut fields: Fields) -> Result<Self, Problem> {
        let name = fields.optional_string("name")?;
        let topic = fields.optional_string("topic")?;
        let archived = fields.optional_bool("archived")?;
        fields.finish()?;
        let name = name.map(channel_name).transpose()?;
        let topic = topic.map(|topic| line("topic", topic, limits::TOPIC_CHARS_MAX)).transpose()?;
        Ok(Self { name, topic, archived })
    }
}

/// The body of `PUT /users/me`.
impl TryFrom<Fields> for ProfileUpdate {
    type Error = Problem;

    fn try_from(mut fields: Fields) -> Result<Self, Problem> {
        let name = fields.optional_string("name")?;
        let avatar = fields.optional_string("avatar")?;
        let status = fields.optional_string("status")?;
        let status_emoji = fields.optional_string("status_emoji")?;
        let tz = fields.optional_string("tz")?;
        fields.finish()?;
        let status = status.map(|text| line("status", text, limits::STATUS_CHARS_MAX)).transpose();
        Ok(Self {
            name: name.map(profile_name).transpose()?,
            avatar: avatar.map(avatar_url).transpose()?,
            status: status?,
            status_emoji: status_emoji.map(emoji).transpose()?,
            tz: tz.map(time_zone).transpose()?,
        })
    }
}

/// A text of one line, which may be empty.
fn line(field: &'static str, text: String, chars_max: usize) -> Result<String, Problem> {
    if text.chars().count() > chars_max {
        return Err(Problem::invalid_field(field, "The text is too long"));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::invalid_field(field, "The text holds a control character"));
    }
    Ok(text)
}

fn profile_name(name: String) -> Result<String, Problem> {
    if is_invisible(&name) {
        return Err(Problem::invalid_field("name", "The name is empty"));
    }
    line("name", name, limits::PROFILE_NAME_CHARS_MAX)
}

/// Clients show avatars, so only an absolute `https` URL without credentials is one.
fn avatar_url(url: String) -> Result<String, Problem> {
    let is_url = |uri: &Uri| {
        uri.scheme_str() == Some("https")
            && uri.host().is_some_and(|host| !host.is_empty())
            && !uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
    };
    let is_short = url.len() <= limits::AVATAR_BYTES_MAX;
    let is_plain =
        || url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\".contains(&byte));
    if url.is_empty() || (is_short && is_plain() && url.parse().is_ok_and(|uri| is_url(&uri))) {
        return Ok(url);
    }
    Err(Problem::invalid_field("avatar", "Not an https URL of at most 2,048 bytes"))
}

fn emoji(text: String) -> Result<String, Problem> {
    let is_mark = |char: char| char.is_control() || char.is_whitespace();
    if text.len() > limits::STATUS_EMOJI_BYTES_MAX || text.chars().any(is_mark) {
        return Err(Problem::invalid_field("status_emoji", "Not an emoji of at most 64 bytes"));
    }
    Ok(text)
}

fn time_zone(name: String) -> Result<String, Problem> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_+/-".contains(&byte);
    if name.len() > limits::TZ_BYTES_MAX || !name.bytes().all(is_part) {
        return Err(Problem::invalid_field("tz", "Not the name of a time zone"));
    }
    Ok(name)
}
