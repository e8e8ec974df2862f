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
  if (refreshing) return;
  refreshing = true;
  try {
    const [ws, all, permissions, spawns] = await Promise.all([
      api('GET', 'api/workspaces'), api('GET', 'api/agents'),
      api('GET', 'api/permissions'), api('GET', 'api/spawn-requests'),
    ]);
    workspaces.clear(); agents.clear(); requests.clear();
    for (const one of ws) workspaces.set(one.id, one);
    for (const one of all) agents.set(one.id, one);
    for (const one of permissions) requests.set(one.requestId, one);
    for (const one of spawns) if (one.status === 'pending') requests.set(one.id, one);
  } finally {
    refreshing = false;
  }
  draw();
}

function draw() {
  const lists = [...workspaces.values()].map((workspace) => {
    const own = [...agents.values()].filter((agent) => agent.workspaceId === workspace.id);
    const items = own.map((agent) => {
      const label = `${agent.name} (${agent.role}): ${agent.status}, $${agent.cost.toFixed(4)}`;
      const button = element('button', { type: 'button', textContent: label });
      button.setAttribute('aria-current', String(agent.id === open));
      button.onclick = () => act(() => openAgent(agent.id));
      return element('li', {}, button);
    });
    const form = element('form', {},
      element('label', { textContent: 'New agent, its role: ' }, element('input', { name: 'role', required: true, maxLength: 200 })),
      element('button', { textContent: 'Create' }));
    form.onsubmit = (event) => {
      event.preventDefault();
      act(() => api('POST', 'api/agents', { workspaceId: workspace.id, role: form.role.value }));
    };
    return element('div', {}, element('h2', { textContent: workspace.name }), element('ul', {}, ...items), form);
  });
  $('workspaces').replaceChildren(...lists);
  $('requests').replaceChildren(...[...requests.values()].map(drawRequest));
  const agent = agents.get(open);
  $('agent').hidden = !agent;
  if (agent) $('agent-name').textContent = `${agent.name} (${agent.role}): ${agent.status}`;
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
  act(() => api('POST', 'api/workspaces', { name: event.target.name.value }));
};
$('message').onsubmit = (event) => {
  event.preventDefault();
  const { text } = event.target;
  act(async () => {
    await api('POST', `api/agents/${open}/messages`, { text: text.value });
    text.value = '';
  });
};
$('interrupt').onclick = () => act(() => api('POST', `api/agents/${open}/interrupt`));
$('stop').onclick = () => act(() => api('POST', `api/agents/${open}/stop`));
$('remove').onclick = () => act(() => api('DELETE', `api/agents/${open}`));
connect();
