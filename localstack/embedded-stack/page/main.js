// Starts the page, unless its address names no valid user or workspace.

import { byId } from "./dom.js";
import { startPage } from "./page.js";
import { USER_ID, WORKSPACE_ID } from "./people.js";
import { PEOPLE } from "./store.js";

const query = new URLSearchParams(location.search);
const workspaceId = query.get("workspace") ?? "demo";
const userId = query.get("as") ?? PEOPLE[0];

// No default for a wrong value: people would write as somebody else without noticing.
if (!USER_ID.test(userId)) refuse("user", "as", userId);
else if (!WORKSPACE_ID.test(workspaceId)) refuse("workspace", "workspace", workspaceId);
else startPage(workspaceId, userId);

function refuse(what, parameter, value) {
  byId("app").hidden = true;
  byId("refusal").hidden = false;
  byId("refused-what").textContent = what;
  byId("refused-parameter").textContent = `?${parameter}=`;
  byId("refused-value").textContent = value;
}
