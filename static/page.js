// The page: makes the parts and carries frames between them. Start reading here.

import { request } from "./access.js";
import { Activity } from "./activity.js";
import { Attachments } from "./attachments.js";
import { Codex, isCodex } from "./codex.js";
import { Completion } from "./completion.js";
import { Composer } from "./composer.js";
import { ConfigPanel } from "./config.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { Conversation } from "./conversation.js";
import { ConversationStart } from "./conversation_start.js";
import { ConversationList } from "./conversation_list.js";
import { byId } from "./dom.js";
import { Frames } from "./frames.js";
import { History } from "./history.js";
import { Inbox } from "./inbox.js";
import { Ledger } from "./ledger.js";
import { ConnectionView } from "./connection_view.js";
import { newUuid, Outbox } from "./outbox.js";
import { Panels } from "./panels.js";
import { Permissions } from "./permissions.js";
import { Recording } from "./recording.js";
import { Setup } from "./setup.js";
import { StatusPanel } from "./status.js";
import { Tasks } from "./tasks.js";
import { isObject, oneLine, plural } from "./text.js";
import { Todos } from "./todos.js";
import { Transcript } from "./transcript.js";

// An interrupt without effect for this long may be sent again.
const INTERRUPT_AGAIN_MS = 5_000;

let conversationId = "";
// The conversation that the server names, and whether its frames so far are all here.
let named = null;
let caughtUp = false;
// A recording is shown in place of the server's conversation.
let recorded = false;
const ledger = new Ledger();
const transcript = new Transcript();
const frames = new Frames();
const conversation = new Conversation({ transcript, ledger, changed });
const activity = new Activity({ changed: (running) => composer.setRunning(running) });
const outbox = new Outbox({ append: (node) => conversation.append(node), restore: (text) => composer.restore(text) });
const codex = new Codex();
const history = new History({ notice: (...parts) => notice(...parts), restore: (text) => composer.restore(text), settle: () => transcript.settle() });
const inbox = new Inbox({
  handle: showFrame,
  failed({ frame }, error) {
    console.error("A frame could not be shown", error);
    conversation.notice("warning", "A frame could not be shown; it is under Frames.", String(frame?.data?.type ?? frame?.type ?? ""));
  },
  afterSlice() {
    conversation.flush();
    frames.flush();
  },
});
const connection = new Connection({
  prepare: () => config.streamByDefault(),
  state: connectionChanged,
  raw: (direction, text, frame) => {
    frames.add(direction, text, frame);
    if (direction === "out") frames.flush();
  },
  frame: (frame, origin) => inbox.push({ frame, origin }),
  caughtUp: () => inbox.push({ frame: { type: "page_caught_up" }, origin: {} }),
  restarted: () => inbox.push({ frame: { type: "page_restarted" }, origin: {} }),
});
const connectionView = new ConnectionView(connection);
const send = (frame) => connection.send(frame);
const notice = (...parts) => {
  conversation.notice(...parts);
  conversation.flush();
};
const permissions = new Permissions({
  send,
  record(title, text) {
    notice("quiet", title, text);
    conversation.waitingForAnswer(permissions.waiting);
  },
  async writtenPlan() {
    const { response } = await controls.request({ subtype: "get_plan" });
    const plan = response?.response?.content;
    return typeof plan === "string" ? plan : undefined;
  },
});
const askCapabilities = () => { if (connection.open) send({ type: "capabilities" }); };
const controls = new Controls({ send, notice, ask: askCapabilities });
const todos = new Todos();
const tasks = new Tasks({ async stop(id) {
  const { error } = await controls.request({ subtype: "stop_task", task_id: id });
  if (error !== undefined) notice("error", "The task was not stopped:", error);
  return error ?? "";
} });
const attachments = new Attachments({ tell: (words) => composer.complain(words) });
const completion = new Completion({ files: suggestFiles });
const composer = new Composer({ submit: sendMessage, interrupt, attachments, completion });
const config = new ConfigPanel({ reconnect: () => connection.reconnect() });
const setup = new Setup({
  save: (patch) => config.change(patch),
  saved() {
    notice("quiet", "The key was saved.", "The agent starts with it.");
    if (connection.open) connection.reconnect();
    composer.focus();
  },
});
const conversationStart = new ConversationStart({
  request: (request) => controls.request(request),
  notice,
  begun() {
    newConversation("A new conversation");
    conversationList.offer();
  },
  async resume(id) {
    const failed = await config.change({ resume: id });
    if (failed !== "") return failed;
    conversation.append(history.place(id));
    history.show(id, { known: true });
    connection.reconnect();
    return "";
  },
});
const conversationList = new ConversationList({ resume: (id) => conversationStart.goOn(id) });
const status = new StatusPanel({
  ledger,
  ask: askCapabilities,
  told(health, name) {
    controls.know(health);
    config.know(health);
    setup.health(health);
    if (health.agent?.demo === true) conversationStart.forget();
    composer.address(name);
  },
});
const panels = new Panels({
  changed(name) {
    frames.setVisible(name === "frames");
    status.setVisible(name === "status");
    if (name === "config") config.opened();
  },
});

new Recording({
  begin(name) {
    connection.disconnect();
    inbox.push({ frame: { type: "page_recording", name }, origin: {} });
  },
  raw: (direction, text, frame) => frames.add(direction, text, frame),
  frame: (frame) => inbox.push({ frame, origin: {} }),
  notice,
});

byId("open-config-hint").addEventListener("click", () => panels.show("config"));
byId("show-permissions").addEventListener("click", () => panels.show(""));
for (const example of document.querySelectorAll("[data-example]")) {
  example.addEventListener("click", () => composer.write(example.dataset.example));
}
addEventListener("keydown", (event) => {
  if (event.key === "F2" && !byId("token-dialog").open) {
    if (document.body.dataset.panel !== "") panels.show("");
    if (permissions.focus()) event.preventDefault();
    return;
  }
  if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || byId("token-dialog").open) return;
  // There it closes the list of the model or the mode.
  if (event.target instanceof Element && event.target.closest(".under") !== null) return;
  if (activity.running) {
    event.preventDefault();
    interrupt();
  }
});

connection.connect();
status.refresh();
composer.focus();
panels.restore();

function sendMessage(content) {
  const data = { type: "user", uuid: newUuid(), message: { role: "user", content }, parent_tool_use_id: null, session_id: "" };
  const failed = send({ type: "user_message", data });
  if (failed === "") {
    conversationList.said();
    // Through the inbox, so that it stands after what had come before it was sent.
    inbox.push({ frame: { type: "page_sent", data }, origin: {} });
  }
  return failed;
}

// The agent's own suggestions for a file behind an @; none where the mode of the server does not allow them.
async function suggestFiles(query) {
  if (!connection.open) return [];
  const { response } = await controls.request({ subtype: "file_suggestions", query });
  const suggestions = response?.response?.suggestions;
  return (Array.isArray(suggestions) ? suggestions : []).map((each) => (typeof each === "string" ? each : each?.path ?? each?.displayText)).filter((path) => typeof path === "string");
}

function interrupt() {
  if (send({ type: "interrupt" }) !== "") return;
  activity.interrupting();
  composer.setInterrupting();
  setTimeout(() => composer.setRunning(activity.running), INTERRUPT_AGAIN_MS);
}

function connectionChanged(state) {
  const connected = state.name === "connected";
  const acts = connected && !connection.watching;
  connectionView.show(state);
  permissions.setConnected(acts);
  tasks.setConnected(acts);
  conversationStart.setConnected(acts);
  config.connection(state);
  controls.setConnected(acts);
  composer.setConnected(acts, acts ? "Shift+Enter for a new line" : connected ? "Reading along; your text is kept" : "Not connected; your text is kept");
  conversationList.setConnected(acts);
  if (connected) {
    status.refresh();
    askCapabilities();
  } else {
    caughtUp = false;
    inbox.push({ frame: { type: "page_lost" }, origin: {} });
  }
}

// What the conversation had before the frames that the server has kept.
async function showEarlier() {
  if (named !== null) {
    history.show(named);
    return;
  }
  // Where nothing was said since the server was started, the configuration may name one.
  if (connection.replayUntil > 1) return;
  const answer = await request("config");
  const { resume, forkSession } = answer.body?.config ?? {};
  if (typeof resume === "string" && forkSession !== true) history.show(resume, { known: true });
}

function changed(what, facts) {
  switch (what) {
    case "session": session(facts); break;
    case "unauthenticated": setup.refused(facts); break;
    case "tool": permissions.toolDone(facts); break;
    case "result":
      status.showTotals();
      if (facts.succeeded) setup.works();
      break;
  }
}

// The agent names its conversation with each turn.
function session({ session_id: id, slash_commands: commands }) {
  completion.commands(commands);
  if (typeof id !== "string" || recorded) return;
  conversationStart.turn(id);
  if (id === conversationId) return;
  const first = conversationId === "";
  conversationId = id;
  if (!first) conversation.append(history.place(id));
  if (caughtUp) history.show(id);
  // The agent tells its commands and models once it runs.
  askCapabilities();
  if (!first) newConversation("");
}

function newConversation(words) {
  todos.clear();
  tasks.clear();
  if (words !== "") conversation.divide(words);
  conversation.flush();
}

function showFrame({ frame, origin }) {
  switch (frame.type) {
    case "connected":
      break;
    case "agent_state":
      activity.update(frame);
      outbox.state(frame);
      controls.state(frame);
      conversationStart.state(frame);
      named = typeof frame.conversation === "string" ? frame.conversation : null;
      break;
    case "input":
      history.saw(frame.data);
      if (!history.has(frame.data)) outbox.input(frame.data);
      if (typeof frame.data?.message?.content === "string") composer.remember(frame.data.message.content);
      break;
    case "undelivered": undelivered(frame); break;
    case "sdk_message":
      for (const message of isCodex(frame.data) ? codex.messages(frame.data) : [frame.data]) {
        history.saw(message);
        todos.message(message);
        tasks.message(message);
        if (!history.has(message)) conversation.message(message);
      }
      break;
    case "error": conversation.error(String(frame.error ?? ""), frame.seq); break;
    case "info": conversation.info(typeof frame.data === "string" ? frame.data : JSON.stringify(frame.data) ?? ""); break;
    case "agent_request":
    case "permission_request":
      permissions.ask(frame, origin);
      conversation.waitingForAnswer(permissions.waiting);
      break;
    case "agent_request_cancelled":
    case "permission_cancelled": permissions.cancelled(frame.requestId); break;
    case "control_response": controls.answered(frame); break;
    case "capabilities":
      status.capabilities(frame);
      controls.capabilities(frame);
      completion.commands(frame.agent?.commands);
      break;
    case "exit": exited(frame); break;
    case "gap": gap(frame); break;
    case "page_sent":
      history.saw(frame.data);
      outbox.sent(frame.data);
      transcript.toEnd();
      break;
    case "page_lost":
      permissions.lost();
      outbox.lost();
      activity.lost();
      break;
    case "page_caught_up":
      transcript.restorePlace();
      permissions.caughtUp();
      caughtUp = true;
      showEarlier();
      conversation.waitingForAnswer(permissions.waiting);
      break;
    case "page_answered":
      permissions.answered(frame.requestId, frame.approved);
      conversation.waitingForAnswer(permissions.waiting);
      break;
    case "page_recording":
      recorded = true;
      permissions.clear();
      newConversation(`A recording: ${frame.name}`);
      break;
    case "page_restarted":
      permissions.clear();
      newConversation("The server was started anew");
      conversationStart.restarted();
      conversationId = "";
      conversation.waitingForAnswer([]);
      conversation.processEnded();
      break;
    default: conversation.notice("quiet", "A frame of a kind this page does not know:", String(frame.type));
  }
}

function exited(frame) {
  permissions.clear();
  tasks.clear();
  conversation.waitingForAnswer([]);
  conversation.exited(frame);
  status.refresh();
}

function undelivered(frame) {
  if (outbox.undelivered(frame) > 0) {
    conversation.toldByMessages(String(frame.reason ?? ""));
    return;
  }
  const count = Array.isArray(frame.uuids) ? frame.uuids.length : 0;
  conversation.notice("warning", `${plural(count, "message")} not delivered:`, String(frame.reason ?? ""));
}

function gap(frame) {
  const missing = isObject(frame) && Number.isFinite(frame.to) && Number.isFinite(frame.from) ? frame.to - frame.from + 1 : 0;
  if (missing <= 0) return;
  ledger.missed();
  conversation.notice("warning", "Something is missing here.", `${plural(missing, "frame")} (${frame.from} to ${frame.to}) are no longer kept by the server.`);
}
