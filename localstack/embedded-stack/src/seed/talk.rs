//! The messages of the demo workspace: minutes since the previous one, sender, text.

/// One message of the demo workspace.
pub(super) type Line = (u64, &'static str, &'static str);

const NIGHT: u64 = 15 * 60;

/// A product team in the week before a release.
pub(super) const GENERAL: &[Line] = &[
    (
        0,
        "alice",
        "Morning! Four days to the 2.4 release. Let's keep everything about it in here so nobody has to dig.",
    ),
    (2, "bob", "Morning. Offline drafts are merged, I am on the sync queue today."),
    (1, "carol", "Hi both 👋 The empty states are ready for review, link is in the ticket."),
    (
        6,
        "alice",
        "Carol, these look great. Could the drafts screen say what happens to a draft when the phone is offline? That was the most common question in the interviews.",
    ),
    (4, "carol", "Good idea. \"Saved on this phone. We send it when you are back.\" – too long?"),
    (1, "bob", "I like it. Short enough for the small screens, too."),
    (3, "alice", "Take it."),
    (
        38,
        "bob",
        "Question on the queue: if somebody edits a report on two devices while both are offline, which one wins?",
    ),
    (
        5,
        "alice",
        "Neither silently, please. Field inspectors lose trust the first time something disappears.",
    ),
    (3, "bob", "Then I keep both and show a choice. A bit more work, but it is honest."),
    (2, "carol", "I can draw that screen. Two cards next to each other, newest on the left?"),
    (1, "bob", "Perfect, thanks."),
    (
        55,
        "alice",
        "Support forwarded a note from the harbour team: photos rotate after upload on older phones. Anybody seen it?",
    ),
    (7, "bob", "Yes, we drop the orientation flag when we resize. Ten minutes."),
    (
        19,
        "bob",
        "Fixed, test included. It only hits phones that store the rotation instead of applying it.",
    ),
    (2, "carol", "That explains the sideways crane I have been admiring all week 😄"),
    (40, "alice", "Lunch, back at one."),
    (
        95,
        "carol",
        "Conflict screen is up as a draft:\n\n1. both versions side by side\n2. what differs is marked\n3. \"Keep this one\" under each\n\nTapping a card opens it in full.",
    ),
    (
        9,
        "bob",
        "Very clear. Can we also have \"Keep both\"? For photos people nearly always want both.",
    ),
    (3, "carol", "Adding it now."),
    (
        NIGHT,
        "bob",
        "Good morning. Sync ran over night with 40 simulated phones: 118,000 edits, none lost, 212 conflicts, all of them offered as a choice.",
    ),
    (4, "alice", "That is the best sentence I will read today."),
    (2, "carol", "🎉"),
    (
        11,
        "alice",
        "Release notes draft is in the docs folder. Please correct whatever is wrong, I wrote the part about drafts from memory.",
    ),
    (
        16,
        "carol",
        "Done. I replaced \"instantly\" with \"within a few seconds\", because that is what we measured.",
    ),
    (2, "alice", "Right. No adverbs that we cannot prove."),
    (
        48,
        "bob",
        "Heads-up: the staging database gets its index rebuilt at 14:00. Search will be slow for about ten minutes.",
    ),
    (1, "carol", "Fine for me, I am in Figma all afternoon."),
    (
        72,
        "bob",
        "Index is done, search is back. Median went from 340 ms to 60 ms on the big tenant.",
    ),
    (3, "alice", "Wow. What was it?"),
    (
        2,
        "bob",
        "We sorted before we filtered. An old habit from when there were fifty reports in total.",
    ),
    (
        28,
        "carol",
        "Small thing from the accessibility pass: the red and the green badge look the same to about one in twelve men. I added a symbol to each.",
    ),
    (4, "alice", "Thank you for catching that. Does the screen reader say it as well?"),
    (1, "carol", "It does now: \"overdue\" and \"done\"."),
    (
        65,
        "alice",
        "I talked to the ferry company. They want to roll out to 60 inspectors in the first week, not 20. Are we good with that?",
    ),
    (
        6,
        "bob",
        "Load-wise yes, we tested with ten times that. I would like a shorter list of people with admin rights, though.",
    ),
    (3, "alice", "Agreed, I will ask them for three names."),
    (
        NIGHT,
        "carol",
        "Morning! New app icon is in the build. Please look at it on your own phone before you say anything 🙏",
    ),
    (8, "bob", "On my home screen. It stands out between the others without shouting."),
    (5, "alice", "Love it. The ink drop is a lovely touch."),
    (
        33,
        "bob",
        "Found a nasty one: if the phone's clock is an hour off, drafts sort into the past. We now sort by the server's time and keep the phone's time only for display.",
    ),
    (4, "carol", "Does the user see a difference?"),
    (1, "bob", "Only that their new report is where they expect it: on top."),
    (6, "alice", "Please put that into the notes under \"fixed\"."),
    (
        50,
        "carol",
        "Onboarding test with five people from the depot: all five created a report in under two minutes without help. Two looked for \"Send\" and found \"Submit\". I would rename it.",
    ),
    (3, "alice", "Rename it. Words people look for beat words we like."),
    (2, "bob", "Renamed, in all four languages. Tests are running."),
    (70, "alice", "Code freeze tomorrow at noon. What is still open on your side?"),
    (
        4,
        "bob",
        "One review (retry of photo uploads on bad networks) and the dashboard for the rollout.",
    ),
    (2, "carol", "Two illustrations and the print layout."),
    (
        85,
        "bob",
        "Review is through. Uploads now continue where they stopped, even after the app was closed.",
    ),
    (3, "carol", "I tried it in the elevator, three times up and down. It just works."),
    (NIGHT, "alice", "Good morning, freeze day ☕ Who takes which part of the final check?"),
    (3, "bob", "I take sign-in, sync and uploads."),
    (1, "carol", "Everything you can see: dark mode, print, large text, right-to-left."),
    (2, "alice", "Then I do the sad paths: no network, full disk, expired licence."),
    (
        64,
        "carol",
        "Right-to-left had one arrow pointing the wrong way. Fixed. Everything else is clean.",
    ),
    (
        21,
        "alice",
        "Full disk: the message was \"Error 28\". It now says what to do, and the draft survives.",
    ),
    (
        17,
        "bob",
        "All green on my side: 412 checks, 0 failures. The release build is signed and waits for you, Alice.",
    ),
    (
        5,
        "alice",
        "Then let's ship on Monday at nine, with coffee and no surprises. Thank you both, this was a calm one.",
    ),
    (2, "carol", "Calm releases are my favourite kind."),
    (1, "bob", "See you on Monday 🚀"),
];

/// Small talk.
pub(super) const RANDOM: &[Line] = &[
    (
        0,
        "carol",
        "There is a box of plums from my parents' garden in the kitchen. Please take some, I beg you.",
    ),
    (12, "bob", "Already had four. Five. They are very good."),
    (
        180,
        "alice",
        "Does anybody want the second ticket for the jazz trio on Thursday? My sister is ill.",
    ),
    (9, "carol", "Me! I owe you a dinner."),
    (NIGHT, "bob", "Today I learned that the office plant has a name. Who is Gerald?"),
    (3, "alice", "Gerald has been here longer than any of us. Show some respect."),
    (1, "carol", "He prefers to be watered on Tuesdays."),
    (240, "bob", "Bike repaired, rain announced. As always."),
];

/// A channel of two of the three users: the third one does not see it.
pub(super) const LAUNCH_PLAN: &[Line] = &[
    (
        0,
        "alice",
        "Let's collect what we need for the launch here, and tell Bob about the cake only when it is there.",
    ),
    (3, "carol", "Banner, announcement, three screenshots, cake. Anything else?"),
    (5, "alice", "A short film of the conflict screen? Ten seconds, no sound."),
    (2, "carol", "Can do. I will record it on the old phone so that it looks real."),
    (
        NIGHT,
        "carol",
        "Film is done: nine seconds. The banner has two variants, one calm and one loud.",
    ),
    (6, "alice", "Calm. The cake may be loud."),
    (75, "alice", "Cake is ordered for Monday at ten: plum, obviously."),
];

/// A DM.
pub(super) const ALICE_AND_BOB: &[Line] = &[
    (
        0,
        "alice",
        "Do you have ten minutes on Monday before the release? I would like to walk through the rollback once, so that we never need it.",
    ),
    (7, "bob", "Sure, 8:30? I will bring the checklist. It fits on one page now."),
    (1, "alice", "8:30 it is. Thanks!"),
    (
        140,
        "bob",
        "Rehearsed it on staging just now: back on 2.3 in under four minutes, no data touched.",
    ),
    (4, "alice", "You are making me very relaxed."),
];

/// Another DM.
pub(super) const ALICE_AND_CAROL: &[Line] = &[
    (
        0,
        "carol",
        "Could you look at the announcement before it goes out? I am never sure about the first sentence.",
    ),
    (
        11,
        "alice",
        "I would start with the inspectors, not with us: \"Your reports are safe, with or without a network.\"",
    ),
    (2, "carol", "So much better. Taking it, with thanks."),
    (1, "alice", "The rest is lovely as it is."),
];
