// How a meeting looks: its lines, and what is above them.

import { element, icon, nameNode } from "./dom.js";
import { timeOf } from "./ids.js";
import { continues } from "./rows.js";

/** The rows of a meeting: what was said, notes, and own messages that are on their way. */
export function meetingRows({ lines, unsent }) {
  const mine = unsent.map((message) => ({ key: message.id, message }));
  let previous = null;
  return [...lines, ...mine].map(({ key, message, text }) => {
    const compact = message !== undefined && continues(previous, message);
    previous = message ?? null;
    if (message === undefined) return { key, kind: "lost", text };
    return { key, kind: "message", message, compact, missed: false, at: new Date(timeOf(key)) };
  });
}

/** What is above the lines. `knowsMeetings`: whether the node, if there is one, has them. */
export function meetingEdgeState(meeting, knowsMeetings) {
  if (!knowsMeetings) return "meeting unknown";
  if (meeting.state === "refused") return `meeting refused: ${meeting.refusal}`;
  return `meeting ${meeting.state}`;
}

/** `joinAgain()` joins after a refusal. */
export function meetingEdge(state, channel, meeting, joinAgain) {
  return [
    element(
      "div",
      { class: "beginning", "data-testid": "meeting-start" },
      element("h2", {}, icon("meeting"), nameNode(channel.name)),
      element(
        "p",
        {},
        "Nothing said here is kept. Only people who are here see it, and it is gone when you " +
          "reload this page.",
      ),
      element(
        "p",
        { class: "meeting-state", "data-testid": "meeting-state" },
        ...stateWords(state, meeting, joinAgain),
      ),
    ),
  ];
}

/** What is shown of a meeting that is no longer there. */
export function meetingOver(channel) {
  return [
    element(
      "div",
      { class: "beginning", "data-testid": "meeting-over" },
      element("h2", {}, icon("meeting"), nameNode(channel.name)),
      element("p", {}, "You are no longer in this meeting. Nothing said in it was kept."),
    ),
  ];
}

function stateWords(state, { refusal }, joinAgain) {
  switch (state) {
    case "meeting joined":
      return ["You are in the meeting."];
    case "meeting joining":
      return ["Joining…"];
    case "meeting waiting":
      return ["You are not in the meeting: there is no connection."];
    case "meeting unknown":
      return ["This server does not take part in meetings."];
    default: {
      const again = element("button", { type: "button", class: "text-button" }, "Join again");
      again.addEventListener("click", () => joinAgain());
      return [`You are not in the meeting: ${refusal}. `, again];
    }
  }
}
