//! Reads a whole environment and collects every problem in it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use auth::tokens::{TokenConfig, TokenKeys};
use auth::{PublicKeys, Secrets};
use model::limits;

use crate::telemetry::{self, LogConfig, LogFormat};

use super::{
    ConfigError, ELASTICACHE_ENDPOINT_URL, ENDPOINT_URL, Env, LOG, LOG_FORMAT, REDIS_CA,
    REDIS_GROUP, REDIS_TOKEN, REDIS_URL, REGION, RedisGroup, RedisPlace, RedisUrl,
    SOCKET_SECONDS_MAX, StoreConfig, TABLE_PREFIX, TOKEN_AUDIENCE, TOKEN_ISSUER, TOKEN_KEYS,
    TOKEN_SECRET,
};

/// Reads values and collects problems.
pub(super) struct Reader<'a, E> {
    env: &'a E,
    pub(super) problems: Vec<String>,
}

impl<'a, E: Env> Reader<'a, E> {
    pub(super) fn new(env: &'a E) -> Self {
        Self { env, problems: Vec::new() }
    }

    pub(super) fn refused(self) -> ConfigError {
        ConfigError { problems: self.problems }
    }

    /// Reads an optional value. An empty one counts as absent, since templates leave those behind.
    pub(super) fn optional<T, W: fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, W>,
    ) -> Option<T> {
        let value = self.env.value(name).filter(|value| !value.is_empty())?;
        let parsed = match value.to_str() {
            Some(text) => parse(text).map_err(|wrong| wrong.to_string()),
            None => Err("is not UTF-8".to_owned()),
        };
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(wrong) => {
                self.problems.push(format!("{name} {wrong}"));
                None
            }
        }
    }

    pub(super) fn required<T, W: fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, W>,
    ) -> Option<T> {
        let before = self.problems.len();
        let value = self.optional(name, parse);
        if value.is_none() && self.problems.len() == before {
            self.problems.push(format!("{name} is not set"));
        }
        value
    }

    pub(super) fn redis(&mut self) -> Option<RedisUrl> {
        let url = self.required(REDIS_URL, RedisUrl::parse);
        self.with_authorities(url)
    }

    /// Reads a URL or a group, not both. A token belongs to a group, since a URL contains its own.
    pub(super) fn redis_place(&mut self) -> Option<RedisPlace> {
        let before = self.problems.len();
        let url = self.optional(REDIS_URL, RedisUrl::parse);
        let id = self.optional(REDIS_GROUP, group_id);
        let token = self.optional(REDIS_TOKEN, auth_token);
        let api = self.optional(ELASTICACHE_ENDPOINT_URL, http_url);
        let (is_url_set, is_group_set) = (self.is_set(REDIS_URL), self.is_set(REDIS_GROUP));
        match (is_url_set, is_group_set) {
            (true, true) => {
                self.problems.push(format!("{REDIS_URL} and {REDIS_GROUP} are both set"));
            }
            (false, false) => {
                self.problems.push(format!("{REDIS_URL} is not set, nor {REDIS_GROUP}"));
            }
            (true, false) if self.is_set(REDIS_TOKEN) => {
                let alone =
                    format!("{REDIS_TOKEN} is set without {REDIS_GROUP}: a URL has its own");
                self.problems.push(alone);
            }
            (false, true) | (true, false) => {}
        }
        if is_url_set {
            let url = self.with_authorities(url);
            return url.filter(|_| self.problems.len() == before).map(RedisPlace::Url);
        }
        let authorities = self.authorities();
        let api = api.or_else(|| self.value(ENDPOINT_URL));
        Some(RedisPlace::Group(RedisGroup { id: id?, token, authorities, api }))
    }

    fn with_authorities(&mut self, url: Option<RedisUrl>) -> Option<RedisUrl> {
        let authorities = self.authorities();
        let url = url?;
        let Some(authorities) = authorities else { return Some(url) };
        if !url.has_tls() {
            self.problems.push(format!("{REDIS_CA} is set, and {REDIS_URL} is without TLS"));
            return None;
        }
        url.trusting(&authorities).ok()
    }

    fn authorities(&mut self) -> Option<String> {
        self.optional(REDIS_CA, |text| {
            let any = RedisUrl::parse("rediss://localhost")?;
            any.trusting(text).map(|_usable| text.to_owned())
        })
    }

    /// A value that is read elsewhere, and judged there.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let value = self.env.value(name)?.into_string().ok()?;
        (!value.is_empty()).then_some(value)
    }

    fn is_set(&self, name: &str) -> bool {
        self.env.value(name).is_some_and(|value| !value.is_empty())
    }

    pub(super) fn secrets(&mut self, name: &str) -> Option<Secrets> {
        self.required(name, |text| Secrets::parse(text).map_err(|wrong| format!("is {wrong}")))
    }

    pub(super) fn log(&mut self) -> LogConfig {
        let filter = self.optional(LOG, |text| {
            if telemetry::is_filter(text) {
                Ok(text.to_owned())
            } else {
                Err("is not a log filter")
            }
        });
        let format = self.optional(LOG_FORMAT, |text| {
            LogFormat::parse(text).ok_or("is neither json nor pretty")
        });
        let default = LogConfig::default();
        let filter = filter.unwrap_or(default.filter);
        LogConfig { filter, format: format.unwrap_or(default.format) }
    }

    pub(super) fn store(&mut self) -> Option<StoreConfig> {
        let table_prefix = self.required(TABLE_PREFIX, table_prefix);
        let region = self.required(REGION, region);
        let endpoint = self.optional(ENDPOINT_URL, http_url);
        Some(StoreConfig { region: region?, endpoint, table_prefix: table_prefix? })
    }

    /// Reads one way to verify tokens, not two. With public keys, issuer and audience are required,
    /// since the issuer also signs tokens for others.
    pub(super) fn tokens(&mut self) -> Option<TokenConfig> {
        let before = self.problems.len();
        let secrets = self.optional(TOKEN_SECRET, |text| {
            Secrets::parse(text).map_err(|wrong| format!("is {wrong}"))
        });
        let public = self.optional(TOKEN_KEYS, PublicKeys::parse);
        let name = |text: &str| Ok::<_, &str>(text.to_owned());
        let (issuer, audience) = if public.is_some() {
            (self.required(TOKEN_ISSUER, name), self.required(TOKEN_AUDIENCE, name))
        } else {
            (self.optional(TOKEN_ISSUER, name), self.optional(TOKEN_AUDIENCE, name))
        };
        let session_max = self.optional(SOCKET_SECONDS_MAX, socket_seconds);
        let session_max = session_max.unwrap_or(limits::SOCKET_LIFETIME);
        let keys = match (secrets, public) {
            (Some(secrets), None) => TokenKeys::Shared(secrets),
            (None, Some(public)) => TokenKeys::Public(public),
            (Some(_), Some(_)) => {
                self.problems.push(format!("{TOKEN_SECRET} and {TOKEN_KEYS} are both set"));
                return None;
            }
            (None, None) => {
                if self.problems.len() == before {
                    self.problems.push(format!("{TOKEN_KEYS} is not set, nor {TOKEN_SECRET}"));
                }
                return None;
            }
        };
        Some(TokenConfig { keys, issuer, audience, session_max })
    }
}

fn table_prefix(text: &str) -> Result<String, &'static str> {
    // Characters that a table name may contain, with room for our longest name.
    let fits = text.len() <= 200
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if fits { Ok(text.to_owned()) } else { Err("cannot be the prefix of a table name") }
}

fn region(text: &str) -> Result<String, &'static str> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_plain { Ok(text.to_owned()) } else { Err("is not a region") }
}

pub(super) fn http_url(text: &str) -> Result<String, &'static str> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() => Ok(text.to_owned()),
        Some(_) | None => Err("is not an http:// or https:// URL"),
    }
}

/// ElastiCache's rule: 1 to 40 letters, digits and hyphens, a letter first, no hyphen last, and no
/// two hyphens in a row.
fn group_id(text: &str) -> Result<String, &'static str> {
    let fits = text.len() <= 40
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.ends_with('-')
        && !text.contains("--");
    if fits { Ok(text.to_owned()) } else { Err("is not a replication group id") }
}

/// ElastiCache's rule: 16 to 128 printable characters.
fn auth_token(text: &str) -> Result<String, &'static str> {
    let fits = (16..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("is not 16 to 128 printable characters") }
}

pub(super) fn replicas(text: &str) -> Result<u32, &'static str> {
    // ElastiCache allows five.
    text.parse().ok().filter(|count| *count <= 5).ok_or("is not a number of replicas from 0 to 5")
}

pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().or(Err("is not an address and port"))
}

pub(super) fn socket_url(text: &str) -> Result<String, &'static str> {
    let rest = text.strip_prefix("ws://").or_else(|| text.strip_prefix("wss://"));
    match rest {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        Some(_) | None => Err("is not a ws:// or wss:// URL"),
    }
}

/// Accepts a minute to a year.
fn socket_seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds @ 60..=31_536_000) => Ok(Duration::from_secs(seconds)),
        Ok(_) | Err(_) => Err("is not a number of seconds from 60 to 31536000"),
    }
}

/// At least one: a node that accepts no handshakes is useless.
pub(super) fn rate(text: &str) -> Result<u32, &'static str> {
    match text.parse() {
        Ok(rate @ 1..=100_000) => Ok(rate),
        Ok(_) | Err(_) => Err("is not a number from 1 to 100000"),
    }
}

pub(super) fn origins(text: &str) -> Result<Vec<String>, &'static str> {
    text.split(',')
        .map(|origin| {
            let origin = origin.trim();
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            match host {
                Some(host) if !host.is_empty() && !host.contains('/') => Ok(origin.to_owned()),
                Some(_) | None => {
                    Err("contains something that is not an origin such as https://example.com")
                }
            }
        })
        .collect()
}
