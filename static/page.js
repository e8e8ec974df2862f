// The page: makes the parts and carries frames between them. Start reading here.

import { Codex, isCodex } from "./codex.js";
import { Composer } from "./composer.js";
import { ConfigPanel } from "./config.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { Conversation } from "./conversation.js";
import { byId } from "./dom.js";
import { Frames } from "./frames.js";
import { Inbox } from "./inbox.js";
import { Ledger } from "./ledger.js";
import { Link } from "./link.js";
import { Panels } from "./panels.js";
import { Permissions } from "./permissions.js";
import { StatusPanel } from "./status.js";
import { isObject, plural } from "./text.js";
import { Transcript } from "./transcript.js";

// An interrupt without effect for this long may be sent again.
const INTERRUPT_AGAIN_MS = 5_000;

const ledger = new Ledger();
const transcript = new Transcript();
const frames = new Frames();
const conversation = new Conversation({ transcript, ledger, changed });
const codex = new Codex();
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
  state: connectionChanged,
  raw: (direction, text, frame) => {
    frames.add(direction, text, frame);
    if (direction === "out") frames.flush();
  },
  frame: (frame, origin) => inbox.push({ frame, origin }),
  caughtUp: () => inbox.push({ frame: { type: "page_caught_up" }, origin: {} }),
  restarted: () => inbox.push({ frame: { type: "page_restarted" }, origin: {} }),
});
const link = new Link(connection);
const send = (frame) => connection.send(frame);
const notice = (...parts) => {
  conversation.notice(...parts);
  conversation.flush();
};
const permissions = new Permissions({ send, record(title, text) {
  notice("quiet", title, text);
  conversation.waitingForAnswer(permissions.waiting);
} });
const askCapabilities = () => { if (connection.open) send({ type: "capabilities" }); };
const controls = new Controls({ send, notice, ask: askCapabilities });
const composer = new Composer({ submit: sendMessage, interrupt });
const config = new ConfigPanel({ reconnect: () => connection.reconnect() });
const status = new StatusPanel({
  ledger,
  ask: askCapabilities,
  told(health, name) {
    controls.know(health);
    config.know(health);
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

byId("open-config-hint").addEventListener("click", () => panels.show("config"));
byId("show-permissions").addEventListener("click", () => panels.show(""));
for (const example of document.querySelectorAll("[data-example]")) {
  example.addEventListener("click", () => {
    byId("message").value = example.dataset.example;
    composer.focus();
  });
}
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || byId("token-dialog").open) return;
  // There it closes the list of the model or the mode.
  if (event.target instanceof Element && event.target.closest(".under") !== null) return;
  if (conversation.running) {
    event.preventDefault();
    interrupt();
  }
});

connection.connect();
status.refresh();
composer.focus();

function sendMessage(text) {
  const message = { type: "user", message: { role: "user", content: text }, parent_tool_use_id: null, session_id: "" };
  const failed = send({ type: "user_message", data: message });
  if (failed === "") {
    // Through the inbox, so that it stands after what had come before it was sent.
    inbox.push({ frame: { type: "page_sent", text }, origin: {} });
  }
  return failed;
}

function interrupt() {
  if (send({ type: "interrupt" }) !== "") return;
  conversation.interrupting();
  composer.setInterrupting();
  setTimeout(() => composer.setRunning(conversation.running), INTERRUPT_AGAIN_MS);
}

function connectionChanged(state) {
  const connected = state.name === "connected";
  link.show(state);
  permissions.setConnected(connected);
  controls.setConnected(connected);
  composer.setConnected(connected, connected ? "Shift+Enter for a new line" : "Not connected; your text is kept");
  if (connected) status.refresh();
  else inbox.push({ frame: { type: "page_lost" }, origin: {} });
}

function changed(what, facts) {
  switch (what) {
    case "turn": composer.setRunning(facts); break;
    case "session": controls.session(facts); break;
    case "tool": permissions.toolDone(facts); break;
    case "result": status.showTotals(); break;
  }
}

function showFrame({ frame, origin }) {
  switch (frame.type) {
    case "connected":
      if (origin.from === 0 && frame.next > 1) conversation.notice("quiet", "Replay.", "What the server still has of this conversation follows. Messages that were sent to the agent are not part of it.");
      break;
    case "sdk_message":
      for (const message of isCodex(frame.data) ? codex.messages(frame.data) : [frame.data]) conversation.message(message);
      break;
    case "error": conversation.error(String(frame.error ?? "")); break;
    case "info": conversation.info(typeof frame.data === "string" ? frame.data : JSON.stringify(frame.data) ?? ""); break;
    case "permission_request":
      permissions.ask(frame, origin);
      conversation.waitingForAnswer(permissions.waiting);
      break;
    case "permission_cancelled": permissions.cancelled(frame.requestId); break;
    case "control_response": controls.answered(frame); break;
    case "capabilities":
      status.capabilities(frame);
      controls.capabilities(frame);
      break;
    case "exit": exited(frame); break;
    case "gap": gap(frame); break;
    case "page_sent": conversation.sent(frame.text); break;
    case "page_lost":
      permissions.lost();
      conversation.connectionLost();
      break;
    case "page_caught_up":
      permissions.caughtUp();
      conversation.waitingForAnswer(permissions.waiting);
      break;
    case "page_restarted":
      permissions.clear();
      conversation.waitingForAnswer([]);
      conversation.processEnded();
      conversation.notice("warning", "The server was started anew.", "What it had not yet delivered is gone.");
      break;
    default: conversation.notice("quiet", "A frame of a kind this page does not know:", String(frame.type));
  }
}

function exited(frame) {
  const how = typeof frame.signal === "string" || Number.isFinite(frame.signal) ? `ended by signal ${frame.signal}` : `ended with code ${frame.code ?? "unknown"}`;
  permissions.clear();
  conversation.waitingForAnswer([]);
  conversation.processEnded();
  const stderr = typeof frame.stderr === "string" && frame.stderr !== "" ? { title: "Last lines of its stderr", text: frame.stderr } : undefined;
  conversation.notice("error", `The agent process ${how}.`, "The next message starts a new one that goes on with the conversation.", stderr);
  status.refresh();
}

function gap(frame) {
  const missing = isObject(frame) && Number.isFinite(frame.to) && Number.isFinite(frame.from) ? frame.to - frame.from + 1 : 0;
  if (missing <= 0) return;
  ledger.missed();
  conversation.notice("warning", "Something is missing here.", `${plural(missing, "frame")} (${frame.from} to ${frame.to}) are no longer kept by the server.`);
}
