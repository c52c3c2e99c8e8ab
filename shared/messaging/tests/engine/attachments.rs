use std::time::Duration;

use messaging::Refusal;
use messaging::amend::{delete_message, edit_message};
use messaging::attachments::{AttachmentError, create_attachment, read_attachment};
use messaging::derive::{Counts, Record};
use messaging::details::change_channel;
use messaging::members::{add_members, remove_member};
use messaging::ports::{AttachmentStore, LogEntry, MessageStore, StoredAttachment, StoredMessage};
use messaging::relay::Outcome;
use messaging::send::{PostMessageError, Posted, post_message};
use model::{
    AttachmentId, ChangeId, ChannelId, ChannelUpdate, EditMessage, ErrorCode, FileDigest, FileName,
    MediaType, Mentions, Message, MessageId, MessageRef, MessageText, NewAttachment, NewMessage,
    limits,
};

use crate::fixture::{Fixture, caller, origin, stranger, user};
use crate::react::target;

fn new_file(channel_id: &ChannelId) -> NewAttachment {
    NewAttachment {
        channel_id: channel_id.clone(),
        name: FileName::parse("plan.pdf").unwrap(),
        media_type: MediaType::parse("application/pdf").unwrap(),
        bytes: 7,
        digest: FileDigest([7; 32]),
    }
}

impl Fixture {
    /// A file that is not uploaded yet.
    async fn file(&self, who: &str, channel: &ChannelId) -> AttachmentId {
        create_attachment(&self.app, &caller(who), new_file(channel)).await.unwrap().id
    }

    async fn uploaded(&self, who: &str, channel: &ChannelId) -> AttachmentId {
        let id = self.file(who, channel).await;
        self.files.upload(&id);
        id
    }

    async fn send_files(
        &self,
        who: &str,
        channel: &ChannelId,
        (text, files): (&str, &[&AttachmentId]),
        id: Option<MessageId>,
    ) -> Result<Posted, PostMessageError> {
        let new = NewMessage {
            log: channel.into(),
            text: MessageText::from_stored(text.to_owned()),
            mentions: Mentions::default(),
            attachments: files.iter().map(|id| id.file).collect(),
            id,
            after: None,
            quote: None,
        };
        post_message(&self.app, &caller(who), &new, origin()).await
    }

    async fn refused(&self, who: &str, channel: &ChannelId, files: &[&AttachmentId]) -> bool {
        let error = self.send_files(who, channel, ("hi", files), None).await.unwrap_err();
        (error.code(), error.field()) == (ErrorCode::InvalidField, Some("attachments"))
    }

    async fn read_file(&self, who: &str, id: &AttachmentId) -> Result<String, AttachmentError> {
        read_attachment(&self.app, &caller(who), id).await
    }

    async fn row(&self, id: &AttachmentId) -> StoredAttachment {
        self.store.attachments(&id.channel_id, &[id.file]).await.unwrap().remove(0)
    }

    /// What `derive` does with a message's row as it is now.
    async fn derive_files(&self, message: &Message) -> Counts {
        let entry = self.store.entry(&message.log(), message.id).await.unwrap();
        let stored = entry.and_then(LogEntry::into_message).unwrap();
        let deriver = self.deriver();
        let record = || Record::Message(Box::new(stored.clone()));
        let records = [record(), record()];
        assert_eq!(deriver.derive(&records).await, Outcome::Relayed);
        deriver.counts()
    }

    async fn delete_sent(&self, who: &str, message: &Message) {
        let deleted = delete_message(&self.app, &caller(who), &target(message), origin()).await;
        assert!(deleted.unwrap().attachments.is_empty());
    }
}

fn named_by(message: &Message) -> MessageRef {
    MessageRef { id: message.id, thread: message.thread }
}

fn code<T: std::fmt::Debug>(result: Result<T, AttachmentError>) -> ErrorCode {
    result.unwrap_err().code()
}

#[tokio::test]
async fn a_message_shows_its_files_and_members_may_read_them() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let (one, other) =
        (fixture.uploaded("alice", &channel).await, fixture.uploaded("alice", &channel).await);
    let files = ("", [&other, &one]);
    let sent = fixture.send_files("alice", &channel, (files.0, &files.1), None).await.unwrap();
    let shown: Vec<_> = sent.message.attachments.iter().map(|shown| shown.file).collect();
    assert_eq!(shown, [other.file, one.file]);
    assert_eq!(sent.message.attachments[0].name.as_str(), "plan.pdf");
    // Before and after `derive` has seen it.
    for _ in 0..2 {
        assert!(fixture.read_file("bob", &one).await.unwrap().contains(&one.file.to_string()));
        assert_eq!(code(fixture.read_file("mallory", &one).await), ErrorCode::ChannelNotFound);
        fixture.derive_files(&sent.message).await;
    }
    let foreign = read_attachment(&fixture.app, &stranger("alice"), &one).await;
    assert_eq!(code(foreign), ErrorCode::ChannelNotFound);
    let row = fixture.row(&one).await;
    assert_eq!((row.named_by, row.expires_at), (Some(named_by(&sent.message)), None));
}

#[tokio::test]
async fn a_url_is_for_members_only_from_the_first_read_after_a_removal() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let id = fixture.uploaded("alice", &channel).await;
    fixture.send_files("alice", &channel, ("", &[&id]), None).await.unwrap();
    fixture.read_file("bob", &id).await.unwrap();
    remove_member(&fixture.app, &caller("alice"), &channel, &user("bob")).await.unwrap();
    assert_eq!(code(fixture.read_file("bob", &id).await), ErrorCode::ChannelNotFound);
    add_members(&fixture.app, &caller("alice"), &channel, &[user("bob")]).await.unwrap();
    fixture.read_file("bob", &id).await.unwrap();
}

#[tokio::test]
async fn a_file_is_created_by_members_of_channels_that_take_messages() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let created = create_attachment(&fixture.app, &caller("bob"), new_file(&channel)).await;
    let created = created.unwrap();
    assert_eq!(created.id.channel_id, channel);
    assert_eq!(fixture.row(&created.id).await.by, user("bob"));
    for stranger in [caller("mallory"), stranger("alice")] {
        let refused = create_attachment(&fixture.app, &stranger, new_file(&channel)).await;
        assert_eq!(code(refused), ErrorCode::ChannelNotFound);
    }
    let archive = ChannelUpdate { archived: Some(true), ..ChannelUpdate::default() };
    change_channel(&fixture.app, &caller("alice"), &channel, &archive).await.unwrap();
    let refused = create_attachment(&fixture.app, &caller("alice"), new_file(&channel)).await;
    assert_eq!(code(refused), ErrorCode::ChannelArchived);
    // Its files are read as before.
    fixture.files.upload(&created.id);
    fixture.read_file("alice", &created.id).await.unwrap();
}

#[tokio::test]
async fn only_ones_own_uploaded_files_of_the_channel_can_be_named() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let other = fixture.group("alice", &["bob"]).await.id;
    let good = fixture.uploaded("alice", &channel).await;
    let not_uploaded = fixture.file("alice", &channel).await;
    let of_bob = fixture.uploaded("bob", &channel).await;
    let elsewhere = fixture.uploaded("alice", &other).await;
    let absent = AttachmentId { file: elsewhere.file, ..good.clone() };
    for bad in [&not_uploaded, &of_bob, &absent] {
        assert!(fixture.refused("alice", &channel, &[&good, bad]).await, "{bad}");
    }
    assert_eq!(fixture.store.calls().get("append"), None);
    fixture.send_files("alice", &channel, ("", &[&good]), None).await.unwrap();
}

#[tokio::test]
async fn an_unnamed_file_lapses_after_a_day() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let id = fixture.uploaded("alice", &channel).await;
    fixture.clock.advance(limits::UNNAMED_FILE_MAX - Duration::from_millis(1));
    fixture.read_file("alice", &id).await.unwrap();
    fixture.clock.advance(Duration::from_millis(1));
    assert!(fixture.refused("alice", &channel, &[&id]).await);
    assert_eq!(code(fixture.read_file("alice", &id).await), ErrorCode::AttachmentNotFound);
    let record = Record::FileLapsed(channel, id.file);
    let deriver = fixture.deriver();
    assert_eq!(deriver.derive(&[record]).await, Outcome::Relayed);
    assert_eq!((fixture.files.has(&id), deriver.counts().files_deleted), (false, 1));
}

#[tokio::test]
async fn g1_a_retry_is_a_duplicate_even_after_its_files_are_named_or_deleted() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let (id, other) =
        (fixture.uploaded("alice", &channel).await, fixture.uploaded("alice", &channel).await);
    // One that is stored as it is sent, and one that is redirected.
    for (offset_ms, file) in [(0, &id), (-60_000, &other)] {
        let sent_id = Some(fixture.id_at(offset_ms, 5));
        let send = async |text, files: &[&AttachmentId]| {
            fixture.send_files("alice", &channel, (text, files), sent_id).await
        };
        let sent = send("", &[file]).await.unwrap();
        assert!(!sent.duplicate && send("", &[file]).await.unwrap().duplicate);
        fixture.derive_files(&sent.message).await;
        assert!(send("", &[file]).await.unwrap().duplicate);
        for (text, files) in [("", &[][..]), ("x", &[file]), ("", &[file, &id, &other])] {
            let refused = send(text, files).await.unwrap_err();
            assert_eq!(refused.code(), ErrorCode::IdConflict, "{text} {files:?}");
        }
        fixture.clock.advance(Duration::from_secs(1));
        fixture.delete_sent("alice", &sent.message).await;
        fixture.derive_files(&sent.message).await;
        assert!(send("", &[file]).await.unwrap().duplicate);
        // Another message cannot name it.
        assert!(fixture.refused("alice", &channel, &[file]).await);
    }
}

#[tokio::test]
async fn a_deletion_deletes_the_files_whichever_is_derived_first() {
    for is_named_first in [true, false] {
        let fixture = Fixture::new();
        let channel = fixture.group("alice", &["bob"]).await.id;
        let id = fixture.uploaded("alice", &channel).await;
        let sent = fixture.send_files("alice", &channel, ("hi", &[&id]), None).await.unwrap();
        let stored = StoredMessage::new(sent.message.clone(), 1);
        let naming = || Record::Message(Box::new(stored.clone()));
        if is_named_first {
            fixture.deriver().derive(&[naming()]).await;
        }
        fixture.clock.advance(Duration::from_secs(1));
        fixture.delete_sent("alice", &sent.message).await;
        let is_readable = fixture.read_file("bob", &id).await.is_ok();
        assert_eq!(is_readable, !is_named_first, "only `derive` knows whose it is");
        let counts = fixture.derive_files(&sent.message).await;
        assert_eq!((counts.files_deleted, fixture.files.has(&id)), (1, false));
        fixture.deriver().derive(&[naming()]).await;
        assert!(fixture.row(&id).await.is_withdrawn());
        assert_eq!(code(fixture.read_file("bob", &id).await), ErrorCode::AttachmentNotFound);
    }
}

#[tokio::test]
async fn a_file_belongs_to_the_first_message_that_names_it() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let id = fixture.uploaded("alice", &channel).await;
    let first = fixture.send_files("alice", &channel, ("1", &[&id]), None).await.unwrap();
    // `derive` has not seen the first one yet.
    let second = fixture.send_files("alice", &channel, ("2", &[&id]), None).await.unwrap();
    fixture.derive_files(&first.message).await;
    fixture.derive_files(&second.message).await;
    fixture.clock.advance(Duration::from_secs(1));
    fixture.delete_sent("alice", &second.message).await;
    assert_eq!(fixture.derive_files(&second.message).await.files_deleted, 0);
    fixture.read_file("bob", &id).await.unwrap();
    fixture.delete_sent("alice", &first.message).await;
    assert_eq!(fixture.derive_files(&first.message).await.files_deleted, 1);
}

#[tokio::test]
async fn an_edit_keeps_the_files_and_names_none_again() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let id = fixture.uploaded("alice", &channel).await;
    let sent = fixture.send_files("alice", &channel, ("hi", &[&id]), None).await.unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    let edit = EditMessage {
        text: MessageText::parse("changed".to_owned()).unwrap(),
        mentions: Mentions::default(),
        change_id: ChangeId::parse(&fixture.id_at(0, 9).to_string()).unwrap(),
        if_rev: None,
    };
    let (alice, target) = (caller("alice"), target(&sent.message));
    let edited = edit_message(&fixture.app, &alice, &target, &edit, origin()).await;
    let edited = edited.unwrap().message;
    assert_eq!(edited.attachments, sent.message.attachments);
    assert_eq!(fixture.derive_files(&edited).await.files_named, 0);
}

#[tokio::test]
async fn a_file_store_that_is_down_fails_what_needs_it_and_nothing_else() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let id = fixture.uploaded("alice", &channel).await;
    fixture.files.set_down(true);
    let refused = fixture.send_files("alice", &channel, ("", &[&id]), None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    fixture.post("alice", &channel, "without").await;
    let record = Record::FileLapsed(channel.clone(), id.file);
    assert_eq!(fixture.deriver().derive(&[record]).await, Outcome::HeldAt(0));
    fixture.files.set_down(false);
    fixture.send_files("alice", &channel, ("", &[&id]), None).await.unwrap();
}
