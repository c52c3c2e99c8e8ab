//! The calls about channels, members and users, as a function.
//!
//! **Main path.** [`handle`] finds the call by its route, reads path, query or body, calls one use
//! case of [`messaging::channels`], [`messaging::details`], [`messaging::members`],
//! [`messaging::profiles`] or [`messaging::revoke`], and writes the resulting state.
//!
//! **Invariants.** It returns no error: every refusal is already a response.
//!
//! **Not here.** No rule about who may do what, no Lambda, no environment.

use bytes::Bytes;
use http::{Request, Response};
use messaging::App;
use messaging::channels::{create_channel, list_channels, list_public_channels, read_channel};
use messaging::details::{change_channel, end_meeting};
use messaging::members::{AddedMembers, add_member, add_members, list_members, remove_member};
use messaging::ports::{Creation, Principal};
use messaging::profiles::{change_profile, list_profiles, profiles_of, read_profile};
use messaging::revoke::revoke_user;
use model::{ChannelId, ChannelUpdate, ErrorCode, NewChannel, ProfileUpdate, UserId, limits};
use protocol::http::{
    AddMembersBody, AddedBody, ChangedBody, ChannelBody, ChannelsBody, EndedBody, MemberBody,
    MembersBody, ProfileBody, ProfilesBody, Query, path_channel, path_user, read_json,
};
use protocol::routes::{MembershipRoute, Route};
use service::http::{Answer, Failure, LogFields, authenticate, respond, route};

/// Answers the calls about channels, members and users; anything else is `not_found` or
/// `method_not_allowed`.
pub async fn handle(app: App, request: Request<Bytes>) -> Response<Bytes> {
    let result = dispatch(&app, &request).await;
    respond(&app, &request, result)
}

async fn dispatch(app: &App, request: &Request<Bytes>) -> Result<Answer, Failure> {
    let Route::Membership(route) = route(request)? else { return Err(ErrorCode::NotFound.into()) };
    let caller = authenticate(app, request)?;
    let query = Query::parse(request.uri().query());
    let user = |user_id: &str| path_user(user_id, &caller.user_id);
    let noted = |channel_id: &str| {
        let channel_id = path_channel(channel_id)?;
        LogFields::of(request).channel(&channel_id);
        Ok::<_, Failure>(channel_id)
    };
    match route {
        MembershipRoute::CreateChannel => create(app, &caller, request).await,
        MembershipRoute::ListChannels => list(app, &caller, &query).await,
        MembershipRoute::ReadChannel { channel_id } => {
            let channel = read_channel(app, &caller, &noted(&channel_id)?).await?;
            Ok(Answer::ok(&ChannelBody::of(&channel)))
        }
        MembershipRoute::ChangeChannel { channel_id } => {
            change(app, &caller, &noted(&channel_id)?, request).await
        }
        MembershipRoute::EndMeeting { channel_id } => {
            let channel_id = noted(&channel_id)?;
            end_meeting(app, &caller, &channel_id).await?;
            Ok(Answer::ok(&EndedBody { channel_id: channel_id.to_string() }))
        }
        MembershipRoute::ListMembers { channel_id } => {
            members(app, &caller, &noted(&channel_id)?, &query).await
        }
        MembershipRoute::AddMembers { channel_id } => {
            add_all(app, &caller, &noted(&channel_id)?, request).await
        }
        MembershipRoute::AddMember { channel_id, user_id } => {
            let (channel_id, user_id) = (noted(&channel_id)?, user(&user_id)?);
            add_member(app, &caller, &channel_id, &user_id).await?;
            Ok(Answer::ok(&ChangedBody::of_member(&channel_id, &user_id)))
        }
        MembershipRoute::RemoveMember { channel_id, user_id } => {
            let (channel_id, user_id) = (noted(&channel_id)?, user(&user_id)?);
            remove_member(app, &caller, &channel_id, &user_id).await?;
            Ok(Answer::ok(&ChangedBody::of_member(&channel_id, &user_id)))
        }
        MembershipRoute::ListProfiles => profiles(app, &caller, &query).await,
        MembershipRoute::ReadProfile { user_id } => {
            let profile = read_profile(app, &caller, &user(&user_id)?).await?;
            Ok(Answer::ok(&ProfileBody::of(&profile)))
        }
        MembershipRoute::ChangeProfile { user_id } => {
            let user_id: UserId = user(&user_id)?;
            let update = ProfileUpdate::try_from(read_json(request.headers(), request.body())?)?;
            let profile = change_profile(app, &caller, &user_id, &update).await?;
            Ok(Answer::ok(&ProfileBody::of(&profile)))
        }
        MembershipRoute::RevokeUser { user_id } => {
            let user_id = user(&user_id)?;
            revoke_user(app, &caller, &user_id).await?;
            Ok(Answer::ok(&ChangedBody::of_user(&user_id)))
        }
    }
}

async fn change(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
    request: &Request<Bytes>,
) -> Result<Answer, Failure> {
    let update = ChannelUpdate::try_from(read_json(request.headers(), request.body())?)?;
    let channel = change_channel(app, caller, id, &update).await?;
    Ok(Answer::ok(&ChannelBody::of(&channel)))
}

async fn add_all(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
    request: &Request<Bytes>,
) -> Result<Answer, Failure> {
    let body = AddMembersBody::try_from(read_json(request.headers(), request.body())?)?;
    let AddedMembers { added, refused } = add_members(app, caller, id, &body.members).await?;
    Ok(Answer::ok(&AddedBody::of(&added, &refused)))
}

async fn create(
    app: &App,
    caller: &Principal,
    request: &Request<Bytes>,
) -> Result<Answer, Failure> {
    let new = NewChannel::try_from(read_json(request.headers(), request.body())?)?;
    let (channel, creation) = create_channel(app, caller, new).await?;
    LogFields::of(request).channel(&channel.id);
    let body = ChannelBody::of(&channel);
    Ok(match creation {
        Creation::Created => Answer::created(&body),
        Creation::Existed => Answer::ok(&body),
    })
}

async fn list(app: &App, caller: &Principal, query: &Query) -> Result<Answer, Failure> {
    let (after, limit) = (query.channel_offset()?, query.limit(limits::PAGE_ROWS_DEFAULT)?);
    let after = after.as_ref();
    let (channels, next) = if query.is_public_scope()? {
        list_public_channels(app, caller, after, limit).await?
    } else {
        list_channels(app, caller, after, limit).await?
    };
    Ok(Answer::ok(&ChannelsBody {
        channels: channels.iter().map(ChannelBody::of).collect(),
        next_offset: next.map(|next| next.to_string()),
    }))
}

async fn members(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
    query: &Query,
) -> Result<Answer, Failure> {
    let (after, limit) = (query.user_offset()?, query.limit(limits::PAGE_ROWS_DEFAULT)?);
    let (rows, next) = list_members(app, caller, id, after.as_ref(), limit).await?;
    Ok(Answer::ok(&MembersBody {
        members: rows.iter().map(MemberBody::of).collect(),
        next_offset: next.map(|next| next.to_string()),
    }))
}

async fn profiles(app: &App, caller: &Principal, query: &Query) -> Result<Answer, Failure> {
    let (profiles, next) = match query.user_ids()? {
        Some(ids) => (profiles_of(app, caller, &ids).await?, None),
        None => {
            let (after, limit) = (query.user_offset()?, query.limit(limits::PAGE_ROWS_DEFAULT)?);
            list_profiles(app, caller, after.as_ref(), limit).await?
        }
    };
    Ok(Answer::ok(&ProfilesBody {
        users: profiles.iter().map(ProfileBody::of).collect(),
        next_offset: next.map(|next| next.to_string()),
    }))
}
