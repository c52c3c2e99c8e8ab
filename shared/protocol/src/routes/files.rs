//! Routes of files.

use http::Method;
use model::ErrorCode;

use super::{Route, not_allowed};
use crate::problem::Problem;

/// A call that signs an upload or a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilesRoute {
    /// `POST /attachments`
    Create,
    /// `GET /attachments/{id}`
    Read {
        /// As in the path, percent-decoded.
        id: String,
    },
}

impl FilesRoute {
    pub(super) const fn template(&self) -> &'static str {
        match self {
            Self::Create => "/attachments",
            Self::Read { .. } => "/attachments/{id}",
        }
    }
}

/// The route of a path below `/attachments`.
pub(super) fn resolve(method: &Method, path: &[&str]) -> Result<Route, Problem> {
    match path {
        [] if *method == Method::POST => Ok(Route::Files(FilesRoute::Create)),
        [] => Err(not_allowed("POST")),
        [""] | [_, _, ..] => Err(ErrorCode::NotFound.into()),
        [id] if *method == Method::GET => {
            Ok(Route::Files(FilesRoute::Read { id: (*id).to_owned() }))
        }
        [_] => Err(not_allowed("GET")),
    }
}
