//! Receipts of channels that deliver first (G14): who has, and has read, which messages.

use std::collections::BTreeSet;

use model::{ChannelId, Contract, ErrorCode, NewReadMark};

use crate::access::{AccessError, member_channel};
use crate::app::App;
use crate::contract::WrongContract;
use crate::error::{Refusal, StoreError};
use crate::ports::{Principal, ReceiptMarks};

/// Why receipts were not read.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptsError {
    /// No such channel for the caller.
    #[error("no such channel for the caller")]
    ChannelNotFound,
    /// The channel's contract has no receipts.
    #[error(transparent)]
    Contract(#[from] WrongContract),
    /// The store or the bus did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ReceiptsError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ChannelNotFound => ErrorCode::ChannelNotFound,
            Self::Contract(WrongContract) => ErrorCode::WrongContract,
            Self::Store(error) => error.code(),
        }
    }
}

impl From<AccessError> for ReceiptsError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotFound => Self::ChannelNotFound,
            AccessError::Store(error) => Self::Store(error),
        }
    }
}

/// Reads how far the users of a channel have come, for a member.
///
/// # Errors
/// [`ReceiptsError`].
pub async fn read_receipts(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
) -> Result<ReceiptMarks, ReceiptsError> {
    let channel = member_channel(app, caller, id).await?;
    if !channel.contract.delivers_first() {
        return Err(WrongContract.into());
    }
    let receipts = app.receipts.receipts(&caller.workspace_id, id).await;
    Ok(receipts.map_err(StoreError::from)?)
}

/// Shows the other members how far the caller has read, where the channel has receipts and the caller
/// allows it. May be lost: the next mark shows as much.
pub(crate) async fn share(
    app: &App,
    caller: &Principal,
    marks: &[NewReadMark],
    shared: &BTreeSet<ChannelId>,
) {
    for NewReadMark { log, mark } in marks {
        let id = &log.channel_id;
        let is_shared = log.thread.is_none() && shared.contains(id);
        if is_shared && contract(app, id).await.is_some_and(Contract::delivers_first) {
            let read = vec![(caller.user_id.clone(), mark.up_to)];
            let marks = ReceiptMarks { delivered: Vec::new(), read };
            let raise = app.receipts.raise(&caller.workspace_id, id, &marks);
            app.publisher().attempt(raise).await;
        }
    }
}

/// The channel's contract, which never changes; `None` if the store does not say. An environment reads
/// it once.
async fn contract(app: &App, id: &ChannelId) -> Option<Contract> {
    if let Some(known) = app.known_contract(id) {
        return Some(known);
    }
    let found = app.channels.channels(std::slice::from_ref(id)).await.ok()?;
    let contract = found.first()?.contract;
    app.learn_contract(id, contract);
    Some(contract)
}
