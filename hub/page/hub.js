// The page of the hub: all agents, what waits for a person, one agent's log.

const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? sessionStorage.getItem('token') ?? '';
if (token) sessionStorage.setItem('token', token);
// The address bar is no place for it.
history.replaceState(null, '', location.pathname);

const workspaces = new Map();
const agents = new Map();
const requests = new Map();
let open = null;
let log = [];
let position = null;
let refreshing = false;
// Something has happened since the last look began.
let stale = false;

const $ = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, attributes);
  made.append(...children);
  return made;
}

async function api(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
    body: body && JSON.stringify(body),
  });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error);
  return value;
}

function act(work) {
  work().catch((error) => { $('connection').textContent = error.message; });
}

async function refresh() {
  stale = true;
  if (refreshing) return;
  refreshing = true;
  try {
    while (stale) {
      stale = false;
      await look();
      draw();
    }
  } finally {
    refreshing = false;
  }
}

async function look() {
  const [ws, all, permissions, spawns] = await Promise.all([
    api('GET', 'api/workspaces'), api('GET', 'api/agents'),
    api('GET', 'api/permissions'), api('GET', 'api/spawn-requests'),
  ]);
  workspaces.clear(); agents.clear(); requests.clear();
  for (const one of ws) workspaces.set(one.id, one);
  for (const one of all) agents.set(one.id, one);
  for (const one of permissions) requests.set(one.requestId, one);
  for (const one of spawns) if (one.status === 'pending') requests.set(one.id, one);
}

// Draws a list. What was drawn before stays, with the focus and the text in it.
function drawList(list, values, make, update) {
  list.drawn ??= new Map();
  for (const [id, one] of list.drawn) {
    if (!values.has(id)) {
      one.remove();
      list.drawn.delete(id);
    }
  }
  for (const [id, value] of values) {
    if (!list.drawn.has(id)) {
      const one = make(value);
      list.drawn.set(id, one);
      list.append(one);
    }
    update?.(list.drawn.get(id), value);
  }
}

function draw() {
  drawList($('workspaces'), workspaces, makeWorkspace, (shown, workspace) => {
    const own = [...agents].filter(([, agent]) => agent.workspaceId === workspace.id);
    drawList(shown.querySelector('ul'), new Map(own), makeAgent, updateAgent);
  });
  drawList($('requests'), requests, drawRequest);
  const agent = agents.get(open);
  $('agent').hidden = !agent;
  if (agent) $('agent-name').textContent = `${agent.name} (${agent.role}): ${agent.status}`;
}

function makeWorkspace(workspace) {
  const form = element('form', {},
    element('label', { textContent: 'New agent, its role: ' }, element('input', { name: 'role', required: true, maxLength: 200 })),
    element('button', { textContent: 'Create' }));
  form.onsubmit = (event) => {
    event.preventDefault();
    const role = form.role.value;
    act(async () => {
      await api('POST', 'api/agents', { workspaceId: workspace.id, role });
      if (form.role.value === role) form.reset();
    });
  };
  return element('div', {}, element('h2', { textContent: workspace.name }), element('ul'), form);
}

function makeAgent(agent) {
  const button = element('button', { type: 'button' });
  button.onclick = () => act(() => openAgent(agent.id));
  return element('li', {}, button);
}

function updateAgent(shown, agent) {
  const button = shown.firstChild;
  const label = `${agent.name} (${agent.role}): ${agent.status}, $${agent.cost.toFixed(4)}`;
  if (button.textContent !== label) button.textContent = label;
  button.setAttribute('aria-current', String(agent.id === open));
}

function drawRequest(request) {
  const agent = agents.get(request.agentId);
  const path = request.tool ? `api/permissions/${request.requestId}` : `api/spawn-requests/${request.id}`;
  const title = request.tool ? `${agent?.name ?? request.agentId} wants to use ${request.tool}`
    : `${agent?.name ?? request.agentId} wants more agents`;
  const answer = (approved) => {
    const button = element('button', { type: 'button', textContent: approved ? 'Allow' : 'Deny' });
    button.onclick = () => act(() => api('POST', path, { approved }).then(refresh));
    return button;
  };
  const shown = JSON.stringify(request.tool ? request.input : request.agents, null, 2);
  return element('div', { className: 'request' }, element('h2', { textContent: title }),
    element('pre', { textContent: shown }), answer(true), ' ', answer(false));
}

async function openAgent(id) {
  open = id;
  log = await api('GET', `api/agents/${id}/log`);
  drawLog();
  draw();
}

function drawLog() {
  $('log').replaceChildren(...log.map((entry) => {
    const text = typeof entry.content === 'string' ? entry.content : JSON.stringify(entry.content, null, 2);
    return element('li', {}, element('div', { className: 'kind', textContent: `${entry.kind} ${entry.tool ?? ''}` }), text);
  }));
  $('log').scrollTop = $('log').scrollHeight;
}

let due = null;
function onEvent(event) {
  if (event.seq) position.after = event.seq;
  if (event.type === 'connected') position = { stream: event.stream, after: position?.after ?? 0 };
  if (event.agentId === open && open && event.type.startsWith('agent_')) {
    const kinds = { agent_text: 'text', agent_tool: 'tool', agent_tool_result: 'tool_result', agent_user_message: 'user', agent_error: 'error' };
    if (kinds[event.type]) {
      const content = event.text ?? event.input ?? event.result ?? event.error ?? '';
      log = [...log.slice(-999), { kind: kinds[event.type], tool: event.tool, content }];
      drawLog();
    }
    if (event.type === 'agent_log_updated') { log = event.log; drawLog(); }
  }
  // What was missed is in the log.
  if (event.type === 'gap' && open) act(() => openAgent(open));
  // Many events, one look.
  due ??= setTimeout(() => { due = null; act(refresh); }, 200);
}

function connect() {
  const query = new URLSearchParams({ token, after: position?.after ?? 0 });
  if (position) query.set('stream', position.stream);
  const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/?${query}`);
  socket.onopen = () => { $('connection').textContent = 'connected'; };
  socket.onmessage = (message) => onEvent(JSON.parse(message.data));
  socket.onclose = (event) => {
    const refused = event.code === 4001;
    $('connection').textContent = refused ? 'the token is missing or wrong: open the address that the hub has printed' : 'connection lost';
    if (!refused) setTimeout(connect, 1000);
  };
}

$('new-workspace').onsubmit = (event) => {
  event.preventDefault();
  const form = event.target;
  const name = form.elements.name.value;
  act(async () => {
    await api('POST', 'api/workspaces', { name });
    if (form.elements.name.value === name) form.reset();
  });
};
$('message').onsubmit = (event) => {
  event.preventDefault();
  const form = event.target;
  const text = form.text.value;
  act(async () => {
    await api('POST', `api/agents/${open}/messages`, { text });
    if (form.text.value === text) form.reset();
  });
};
$('interrupt').onclick = () => act(() => api('POST', `api/agents/${open}/interrupt`));
$('stop').onclick = () => act(() => api('POST', `api/agents/${open}/stop`));
$('remove').onclick = () => act(() => api('DELETE', `api/agents/${open}`));
connect();
