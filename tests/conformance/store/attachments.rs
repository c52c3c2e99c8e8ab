//! The rows of files: who has one, until when, and what they cost.

use dynamo::Cost;
use futures_util::future::join_all;
use messaging::ports::{AttachmentStore, Claimed, StoredAttachment};
use model::{Attachment, FileDigest, FileId, FileName, MediaType, MessageRef};

use super::{EmptyTables, Stores, at, channel_id, id, message, user};

on_every_store!(
    rows_of_files_are_read_by_their_ids_and_channel,
    a_file_belongs_to_the_first_message_that_names_it,
    g10_a_file_that_was_withdrawn_is_not_named_again,
    an_absent_file_cannot_be_named_or_withdrawn,
);

fn file(number: u128) -> FileId {
    FileId::mint(at(0), number)
}

/// A message of the main log.
fn of(n: u64) -> MessageRef {
    MessageRef { id: id(n, 1), thread: None }
}

fn row(number: u128) -> StoredAttachment {
    StoredAttachment {
        attachment: Attachment {
            file: file(number),
            name: FileName::parse(&format!("é {number}.png")).unwrap(),
            media_type: MediaType::parse("image/png").unwrap(),
            bytes: 104_857_600,
        },
        digest: FileDigest([7; 32]),
        by: user("ada"),
        named_by: None,
        expires_at: Some(at(5_000)),
    }
}

async fn rows_of_files_are_read_by_their_ids_and_channel(stores: Stores) {
    let (files, channel) = (&stores.attachments, channel_id(1));
    for number in [1, 2] {
        files.put_attachment(&channel, &row(number)).await.unwrap();
    }
    files.put_attachment(&channel_id(2), &row(3)).await.unwrap();
    // A message with a file's id is not a file.
    stores.messages.append(&message(1, id(0, 4), "ada", "hello")).await.unwrap();
    let wanted = [file(2), file(1), file(2), file(3), file(4)];
    let mut found = files.attachments(&channel, &wanted).await.unwrap();
    found.sort_by_key(|row| row.attachment.file);
    assert_eq!(found, [row(1), row(2)]);
    assert_eq!(files.attachments(&channel, &[]).await.unwrap(), []);
}

async fn a_file_belongs_to_the_first_message_that_names_it(stores: Stores) {
    let (files, channel) = (&stores.attachments, channel_id(1));
    files.put_attachment(&channel, &row(1)).await.unwrap();
    let named = join_all((1..9).map(|n| files.name_attachment(&channel, file(1), of(n)))).await;
    let named: Vec<Claimed> = named.into_iter().map(Result::unwrap).collect();
    assert_eq!(named.iter().filter(|claimed| **claimed == Claimed::Done).count(), 1);
    let found = files.attachments(&channel, &[file(1)]).await.unwrap().remove(0);
    let owner = found.named_by.unwrap();
    assert_eq!(found, StoredAttachment { named_by: Some(owner), expires_at: None, ..row(1) });
    // A reply with the same id is another message.
    let other = MessageRef { thread: Some(id(0, 1)), ..owner };
    let withdrawn = files.withdraw_attachment(&channel, file(1), other, at(9_000)).await.unwrap();
    assert_eq!(withdrawn, Claimed::Refused);
}

async fn g10_a_file_that_was_withdrawn_is_not_named_again(stores: Stores) {
    let (files, channel) = (&stores.attachments, channel_id(1));
    for (number, is_named) in [(1, true), (2, false)] {
        files.put_attachment(&channel, &row(number)).await.unwrap();
        if is_named {
            files.name_attachment(&channel, file(number), of(1)).await.unwrap();
        }
        for _ in 0..2 {
            let until = at(8_001);
            let claimed = files.withdraw_attachment(&channel, file(number), of(1), until).await;
            assert_eq!(claimed.unwrap(), Claimed::Done);
        }
        for message in [of(1), of(2)] {
            let claimed = files.name_attachment(&channel, file(number), message).await;
            assert_eq!(claimed.unwrap(), Claimed::Refused);
        }
        let found = files.attachments(&channel, &[file(number)]).await.unwrap().remove(0);
        assert!(found.is_withdrawn());
        assert_eq!(found.expires_at, Some(at(9_000)), "in whole seconds, rounded up");
    }
}

async fn an_absent_file_cannot_be_named_or_withdrawn(stores: Stores) {
    let (files, channel) = (&stores.attachments, channel_id(1));
    let (message, until) = (of(1), at(9_000));
    let claims = [
        files.name_attachment(&channel, file(1), message).await.unwrap(),
        files.withdraw_attachment(&channel, file(1), message, until).await.unwrap(),
    ];
    assert_eq!(claims, [Claimed::Refused; 2]);
    assert_eq!(files.attachments(&channel, &[file(1)]).await.unwrap(), []);
}

#[tokio::test]
async fn a_file_costs_one_write_unit_and_each_read_of_it_one_read_unit() {
    let tables = EmptyTables::create().await;
    let (store, channel) = (&tables.store, channel_id(1));
    let mut last = tables.capacity.snapshot();
    let mut spent = || {
        let cost = tables.capacity.since(&last).total();
        last = tables.capacity.snapshot();
        cost
    };
    let cost = |read_units, write_units| Cost { calls: 1, read_units, write_units };
    let files: Vec<FileId> = (0..10).map(file).collect();
    for number in 0..10 {
        store.put_attachment(&channel, &row(number)).await.unwrap();
        assert_eq!(spent(), cost(0.0, 1.0));
    }
    store.attachments(&channel, &files).await.unwrap();
    assert_eq!(spent(), cost(10.0, 0.0));
    store.name_attachment(&channel, file(1), of(1)).await.unwrap();
    assert_eq!(spent(), cost(0.0, 1.0));
}
