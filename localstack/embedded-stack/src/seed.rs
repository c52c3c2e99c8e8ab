//! The demo workspace: three people, five channels, and their messages of the last days.

mod talk;

use std::time::Duration;

use messaging::App;
use messaging::channels::list_channels;
use messaging::ports::{Cause, Principal, StoredMessage};
use model::{
    Channel, ChannelDetails, ChannelId, ChannelType, Contract, Member, Message, MessageId,
    MessageText, Timestamp, UserId, Visibility, WorkspaceId, limits,
};

use talk::Line;

/// The demo workspace.
pub(crate) const WORKSPACE: &str = "demo";

/// Fills the store, unless one of the users already has a channel. Returns the general channel.
///
/// The general channel is written last: if it exists, everything does. Nothing is published, since
/// no node runs yet and clients read history from the store.
pub(crate) async fn seed(app: &App) -> Result<Option<String>, Cause> {
    let workspace = WorkspaceId::parse(WORKSPACE)?;
    let mut people = Vec::new();
    let mut is_empty = true;
    let mut general = None;
    for name in ["alice", "bob", "carol"] {
        let user_id = UserId::parse(name)?;
        let principal = Principal {
            workspace_id: workspace.clone(),
            user_id: user_id.clone(),
            is_admin: false,
            expires_at: Timestamp::MAX,
        };
        let (channels, _) = list_channels(app, &principal, None, limits::PAGE_ROWS_MAX).await?;
        is_empty &= channels.is_empty();
        if name == "alice" {
            general = general_of(&channels);
        }
        people.push(user_id);
    }
    if !is_empty {
        return Ok(general);
    }
    let [alice, bob, carol] = people.as_slice() else { return Ok(None) };
    let seeding = Seeding { app, workspace, now: app.clock.now() };
    for (other, lines) in [(bob, talk::ALICE_AND_BOB), (carol, talk::ALICE_AND_CAROL)] {
        let id = ChannelId::of_dm(&seeding.workspace, alice, other, Contract::default());
        seeding.write(id, None, &[alice, other], lines).await?;
    }
    for (name, members, lines) in [
        ("launch-plan", &[alice, carol][..], talk::LAUNCH_PLAN),
        ("random", &[alice, bob, carol][..], talk::RANDOM),
    ] {
        let id = seeding.group_id(lines);
        seeding.write(id, Some(name), members, lines).await?;
    }
    let id = seeding.group_id(talk::GENERAL);
    seeding.write(id.clone(), Some(GENERAL), &[alice, bob, carol], talk::GENERAL).await?;
    Ok(Some(id.to_string()))
}

fn general_of(channels: &[Channel]) -> Option<String> {
    let groups = || channels.iter().filter(|channel| channel.channel_type == ChannelType::Group);
    let general = groups().find(|channel| channel.details.name.as_deref() == Some(GENERAL));
    general.or_else(|| groups().next()).map(|channel| channel.id.to_string())
}

struct Seeding<'a> {
    app: &'a App,
    workspace: WorkspaceId,
    now: Timestamp,
}

impl Seeding<'_> {
    fn group_id(&self, lines: &[Line]) -> ChannelId {
        ChannelId::mint_group(self.created_at(lines), self.app.randomness.bits())
    }

    /// A channel's creation time, shortly before its first message.
    fn created_at(&self, lines: &[Line]) -> Timestamp {
        let minutes: u64 = lines.iter().map(|(minutes, _, _)| minutes).sum();
        self.now.minus(Duration::from_secs(60 * (minutes + 15)))
    }

    async fn write(
        &self,
        id: ChannelId,
        name: Option<&str>,
        members: &[&UserId],
        lines: &[Line],
    ) -> Result<(), Cause> {
        let created_at = self.created_at(lines);
        let rows: Vec<Member> = members
            .iter()
            .map(|user| Member { user_id: (*user).clone(), joined_at: created_at })
            .collect();
        self.app.members.put_members(&self.workspace, &id, &rows).await?;
        self.say(&id, created_at, lines).await?;
        let visibility = if name.is_some() { Visibility::Public } else { Visibility::Private };
        if visibility == Visibility::Public {
            self.app.members.list_publicly(&self.workspace, &id).await?;
        }
        let channel = Channel {
            id,
            workspace_id: self.workspace.clone(),
            channel_type: if name.is_some() { ChannelType::Group } else { ChannelType::Dm },
            visibility,
            details: ChannelDetails::new(name.map(str::to_owned)),
            contract: Contract::PersistFirst,
            created_at,
            created_by: rows.first().map(|row| row.user_id.clone()).ok_or("a channel of nobody")?,
            members_version: 1,
            late: None,
        };
        self.app.channels.create(&channel).await?;
        Ok(())
    }

    async fn say(&self, id: &ChannelId, from: Timestamp, lines: &[Line]) -> Result<(), Cause> {
        let mut at = from.plus(Duration::from_secs(10 * 60));
        for (minutes, sender, text) in lines {
            // A few random seconds make the times look natural.
            let seconds = 60 * minutes + self.app.randomness.up_to(4);
            at = at.plus(Duration::from_secs(seconds)).min(self.now);
            let message = Message::new(
                MessageId::mint(at, self.app.randomness.bits()),
                id.clone(),
                UserId::parse(sender)?,
                MessageText::parse((*text).to_owned())?,
            );
            let stored = StoredMessage::new(message, 1);
            self.app.messages.append(&stored).await?;
        }
        Ok(())
    }
}

const GENERAL: &str = "general";
