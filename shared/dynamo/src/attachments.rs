//! Rows of files, in the messages table beside the messages.

use std::collections::BTreeSet;

use async_trait::async_trait;
use messaging::ports::{AttachmentStore, Claimed, ReadError, StoredAttachment, WriteError};
use model::{ChannelId, FileId, MessageRef, Timestamp};

use crate::attempt::Attempts;
use crate::call::Written;
use crate::error::unreadable;
use crate::item::{self, EXPIRES_AT, NAMED_BY, decode_attachment, number};
use crate::keys::{self, CREATED_AT};
use crate::store::DynamoStore;
use crate::update::Update;

#[async_trait]
impl AttachmentStore for DynamoStore {
    async fn put_attachment(
        &self,
        channel: &ChannelId,
        attachment: &StoredAttachment,
    ) -> Result<(), WriteError> {
        let (row, attempts) = (item::encode_attachment(channel, attachment), Attempts::default());
        self.put(&self.tables.messages, row, None, &attempts).await.map(drop)
    }

    async fn attachments(
        &self,
        channel: &ChannelId,
        files: &[FileId],
    ) -> Result<Vec<StoredAttachment>, ReadError> {
        // The store refuses a whole batch if a key appears twice.
        let files: BTreeSet<_> = files.iter().collect();
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let keys = files.into_iter().map(|file| keys::file(channel, *file)).collect();
        let mut found = self.batch_get(vec![(&self.tables.messages, keys)]).await?;
        let rows = found.remove(&self.tables.messages).unwrap_or_default();
        rows.iter().map(decode_attachment).collect::<Result<_, _>>().map_err(unreadable)
    }

    async fn name_attachment(
        &self,
        channel: &ChannelId,
        file: FileId,
        message: MessageRef,
    ) -> Result<Claimed, WriteError> {
        let mut update = Update::default();
        update.set(NAMED_BY, keys::string(message.to_string()));
        update.remove(EXPIRES_AT);
        update.condition(&[NAMED_BY], "attribute_not_exists(#i)");
        self.claim(channel, file, update).await
    }

    async fn withdraw_attachment(
        &self,
        channel: &ChannelId,
        file: FileId,
        message: MessageRef,
        expires_at: Timestamp,
    ) -> Result<Claimed, WriteError> {
        let mut update = Update::default();
        update.set(NAMED_BY, keys::string(message.to_string()));
        update.set(EXPIRES_AT, number(expires_at.unix_ms().div_ceil(1_000)));
        update.condition(&[NAMED_BY], "(attribute_not_exists(#i) OR #i = :i)");
        self.claim(channel, file, update).await
    }
}

impl DynamoStore {
    /// Updates the row of a file, if there is one.
    async fn claim(
        &self,
        channel: &ChannelId,
        file: FileId,
        mut update: Update,
    ) -> Result<Claimed, WriteError> {
        update.condition(&[CREATED_AT], "attribute_exists(#created_at)");
        let update = update
            .into_update(self.client.update_item().table_name(&self.tables.messages))
            .set_key(Some(keys::file(channel, file)));
        Ok(match self.update(update).await? {
            Written::Done(_) => Claimed::Done,
            Written::Refused(_) => Claimed::Refused,
        })
    }
}
