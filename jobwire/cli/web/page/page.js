"use strict";

// Everything from Redis goes into the page as text (textContent), never as markup.

const NAMES = { running: "Running", waiting: "Waiting", dead: "Dead", rejected: "Rejected" };
const PAGE = 50;
const state = { setting: null, source: 0, view: "overview", queue: "pending", offset: 0, chosen: new Set(), token: "", timer: 0, reader: null };

// -- small helpers

const $ = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, String(value));
  }
  element.append(...children.filter((child) => child !== null).map((child) => (typeof child === "object" ? child : String(child))));
  return element;
}

function draw(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

function news(text, bad = false) {
  $("news").textContent = text;
  $("news").classList.toggle("bad", bad);
}

// Control and direction characters are shown by their names: a job must not rearrange the page.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const plain = (value) => String(value).replace(HIDDEN, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

const number = new Intl.NumberFormat("en");

function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

const ago = (moment) => (moment ? `${duration(Math.max(0, Date.now() - moment * 1000))} ago` : "–");

function value(content) {
  const text = typeof content === "string" ? content : JSON.stringify(content);
  const shown = plain(text === undefined ? "" : text);
  return shown.length > 200 ? `${shown.slice(0, 200)}…` : shown;
}

// -- questions and changes

async function ask(path, options = {}) {
  const headers = { "X-Jobwire": "1" };
  if (state.token) headers.Authorization = `Bearer ${state.token}`;
  if (options.body) headers["Content-Type"] = "application/json";
  const response = await fetch(`api/${path}`, { ...options, headers, cache: "no-store", credentials: "same-origin" });
  if (response.status === 401) {
    const given = await askForToken();
    if (given) {
      state.token = given;
      sessionStorage.setItem("jobwire-token", given);
      return ask(path, options);
    }
  }
  if (options.stream && response.ok) return response;
  const answer = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(answer.error || `the server answered ${response.status}`);
  return answer;
}

const here = (parameters = {}) => new URLSearchParams({ s: state.source, ...parameters }).toString();

function dialog(title, body, buttons) {
  $("dialog-title").textContent = title;
  $("dialog-body").replaceChildren(body);
  $("dialog-buttons").replaceChildren(...buttons.map(([text, key, style]) => make("button", { value: key, class: style || "" }, text)));
  $("dialog").returnValue = "";
  $("dialog").showModal();
  return new Promise((resolve) => $("dialog").addEventListener("close", () => resolve($("dialog").returnValue), { once: true }));
}

async function askForToken() {
  const field = make("input", { type: "password", id: "token", autocomplete: "current-password", size: 40 });
  const answer = await dialog("This server wants a token", make("label", {}, "Token ", field), [["Cancel", ""], ["Go on", "yes"]]);
  return answer === "yes" ? field.value.trim() : "";
}

// -- plots

function plot(title, series, unit) {
  const width = 600, height = 170, left = 46, bottom = 18, top = 8;
  const points = series.flatMap((one) => one.points);
  const section = make("section", {}, make("h2", {}, title));
  if (points.length < 2) {
    section.append(make("p", { class: "faint" }, "Not enough samples yet."));
    return section;
  }
  const begin = Math.min(...points.map((p) => p[0])), end = Math.max(...points.map((p) => p[0]));
  const most = Math.max(1, ...points.map((p) => p[1]));
  const x = (t) => left + ((t - begin) / Math.max(1e-9, end - begin)) * (width - left - 6);
  const y = (v) => top + (1 - v / most) * (height - top - bottom);
  const words = series.map((one) => `${one.name}: ${number.format(Math.round(one.points.at(-1)?.[1] ?? 0))} ${unit}`).join("; ");
  const svg = draw("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}, last: ${words}`, preserveAspectRatio: "none" });
  for (const share of [0, 0.5, 1]) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width - 6, y1: y(most * share), y2: y(most * share) }));
    const label = draw("text", { x: left - 5, y: y(most * share) + 4, "text-anchor": "end" });
    label.textContent = number.format(most * share >= 10 ? Math.round(most * share) : +(most * share).toFixed(1));
    svg.append(label);
  }
  const from = draw("text", { x: left, y: height - 4 });
  from.textContent = `${duration((end - begin) * 1000)} ago`;
  const now = draw("text", { x: width - 6, y: height - 4, "text-anchor": "end" });
  now.textContent = "now";
  svg.append(from, now);
  const legend = make("ul", { class: "legend" });
  series.forEach((one, index) => {
    const look = `s${(index % 6) + 1} dash${(index % 6) + 1}`;
    svg.append(draw("polyline", { class: look, points: one.points.map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join(" ") }));
    const sign = draw("svg", { viewBox: "0 0 30 10", "aria-hidden": "true" }, draw("line", { class: look, x1: 0, x2: 30, y1: 5, y2: 5, "stroke-width": 3 }));
    legend.append(make("li", {}, sign, plain(one.name)));
  });
  section.append(svg, legend);
  return section;
}

function table(caption, heads, rows, empty) {
  if (!rows.length) return make("section", { class: "wide" }, make("h2", {}, caption), make("p", { class: "faint" }, empty));
  // The roles say it again: on a phone the cells are blocks, and would lose them.
  const head = make("tr", { role: "row" }, ...heads.map(([text, style]) => make("th", { scope: "col", role: "columnheader", class: style || "" }, text)));
  const body = rows.map((cells) => make("tr", { role: "row" }, ...cells.map((cell, index) => {
    const made = cell instanceof HTMLTableCellElement ? cell : make("td", { class: heads[index][1] || "" }, cell);
    made.setAttribute("role", "cell");
    made.dataset.label = heads[index][0];
    return made;
  })));
  const whole = make("table", { role: "table" }, make("caption", {}, caption), make("thead", { role: "rowgroup" }, head), make("tbody", { role: "rowgroup" }, ...body));
  return make("section", { class: "wide" }, make("div", { class: "scroll" }, whole));
}

// -- views

async function showOverview() {
  const answer = await ask(`overview?${here()}`);
  const it = answer.state;
  const names = [...new Set(answer.samples.flatMap((sample) => Object.keys(sample[1])))];
  const lengths = names.map((name) => ({ name, points: answer.samples.map((sample) => [sample[0], sample[1][name] ?? 0]) }));
  lengths.push({ name: "running", points: answer.samples.map((sample) => [sample[0], sample[2]]) });
  const ended = [];
  for (let at = 1; at < answer.samples.length; at += 1) {
    const [before, after] = [answer.samples[at - 1], answer.samples[at]];
    ended.push([after[0], Math.max(0, (after[3] - before[3]) / Math.max(0.001, after[0] - before[0]))]);
  }
  const own = Object.fromEntries(it.own.map((one) => [value(one.worker), one.length]));
  const waiting = it.queues.reduce((sum, queue) => sum + queue.length, 0);
  const running = it.processing + it.own.reduce((sum, one) => sum + one.length, 0);
  const tiles = [["waiting", waiting], ["running", running], ["dead", it.dead], ["rejected", it.rejected], ["workers", it.workers.length]];
  const rate = ended.length ? ended.at(-1)[1] : 0;
  const times = answer.times;
  const queueRow = (name, length) => {
    const t = times[name] || {};
    return [plain(name), number.format(length), duration(t.oldest), duration(t.age), duration(t.delay), duration(t.work), duration(t.total)];
  };
  const heads = [["Queue"], ["Jobs", "number"], ["Oldest", "number"], ["Age", "number"], ["Delay", "number"], ["Work", "number"], ["Total", "number"]];
  const workers = it.workers.map((worker) => {
    const id = value(worker.id);
    const alive = worker.heartbeat !== null;
    const host = answer.hosts[typeof worker.id === "string" ? worker.id : ""];
    return [make("td", { class: "id" }, host ? `${id} (${plain(host)})` : id), make("td", { class: alive ? "good" : "bad" }, alive ? `alive, ${worker.heartbeat.toFixed(0)} s left` : "no sign of life"), make("td", { class: "number" }, number.format(own[id] || 0))];
  });
  $("main").replaceChildren(
    make("section", { class: "wide" }, make("h2", {}, "Now"), make("dl", { class: "tiles" },
      ...tiles.map(([name, count]) => make("div", {}, make("dt", {}, name), make("dd", { class: count && (name === "dead" || name === "rejected") ? "warn" : "" }, number.format(count)))),
      make("div", {}, make("dt", {}, "ended per second"), make("dd", {}, rate.toFixed(1))))),
    plot("Jobs waiting and running", lengths, "jobs"),
    plot("Jobs ended per second, all prefixes of the server", ended.length ? [{ name: "ended", points: ended }] : [], "a second"),
    table("Queues (times: medians of the jobs at both ends, as Perl's monitor has them)", heads,
      [...it.queues.map((queue) => queueRow(value(queue.name), queue.length)), queueRow("processing", it.processing)], "No queue holds a job."),
    table("Workers with entries of their own (Perl workers leave no sign of life)", [["Worker"], ["Sign of life"], ["Running", "number"]], workers, "No jobwire worker is known here."),
  );
  news(`${state.setting.sources[state.source]}: looked at ${new Date(answer.at * 1000).toLocaleTimeString()}`);
}

async function showList(kind) {
  const parameters = { kind, offset: state.offset };
  if (kind === "waiting") parameters.queue = state.queue;
  const answer = await ask(`jobs?${here(parameters)}`);
  const may = !state.setting.read_only && (kind === "dead" || kind === "rejected");
  const shown = new Set(answer.rows.map((row) => row.id));
  state.chosen = new Set([...state.chosen].filter((id) => shown.has(id)));
  const heads = [...(may ? [[""]] : []), ["Job"], ["Queued", "number"], ["Started", "number"], ["Worker"], [kind === "dead" || kind === "rejected" ? "Reason" : "Parameters"]];
  const rows = answer.rows.map((row) => {
    const box = make("input", { type: "checkbox", "aria-label": `choose ${plain(row.id)}`, onchange: (event) => choose(row.id, event.target.checked) });
    box.checked = state.chosen.has(row.id);
    const link = kind === "rejected" ? plain(row.id) : make("button", { type: "button", onclick: () => showJob(row.id) }, plain(row.id));
    const data = row.data ? Object.entries(row.data).map(([key, content]) => `${plain(key)}: ${value(content)}`).join(", ") + (row.more ? ` (+${row.more})` : "") : "";
    const last = kind === "dead" || kind === "rejected" ? [row.error ? make("span", { class: "bad" }, value(row.error)) : "", data ? make("div", { class: "faint" }, data) : ""] : [row.gone ? make("span", { class: "warn" }, "its hash is gone") : data];
    return [...(may ? [make("td", {}, box)] : []), make("td", { class: "id" }, link), make("td", { class: "number" }, ago(row.queued ?? row.at)), make("td", { class: "number" }, ago(row.started)), make("td", { class: "id" }, row.worker ? plain(row.worker) : ""), make("td", {}, ...last)];
  });
  const bar = make("div", { class: "bar" });
  if (kind === "waiting") bar.append(make("label", {}, "Queue ", queueField()));
  if (may) {
    bar.append(make("button", { type: "button", id: "requeue", onclick: () => change("requeue", kind) }, "Requeue the chosen"));
    if (kind === "dead") bar.append(make("button", { type: "button", id: "drop", class: "danger", onclick: () => change("drop", kind) }, "Drop the chosen"));
    bar.append(make("button", { type: "button", onclick: () => { answer.rows.forEach((row) => state.chosen.add(row.id)); refresh(); } }, "Choose this page"));
  }
  const last = Math.min(answer.total, answer.offset + answer.rows.length);
  bar.append(
    make("button", { type: "button", disabled: answer.offset === 0, onclick: () => page(-PAGE) }, "Back"),
    make("button", { type: "button", disabled: last >= answer.total, onclick: () => page(PAGE) }, "On"),
    make("span", { class: "faint" }, answer.total ? `${number.format(answer.offset + 1)}–${number.format(last)} of ${number.format(answer.total)}` : "none"),
  );
  const focused = document.activeElement && document.activeElement.id;
  $("main").replaceChildren(make("section", { class: "wide" }, bar), table(`${NAMES[kind]} jobs`, heads, rows, "None."));
  if (focused && $(focused)) $(focused).focus();
  updateButtons();
  news(`${NAMES[kind]}: ${number.format(answer.total)}`);
}

function queueField() {
  const field = make("input", { id: "queue", autocomplete: "off", size: 16, onchange: (event) => { state.queue = event.target.value; state.offset = 0; refresh(); } });
  field.value = state.queue;
  return field;
}

function choose(id, chosen) {
  if (chosen) state.chosen.add(id); else state.chosen.delete(id);
  updateButtons();
}

function updateButtons() {
  for (const id of ["requeue", "drop"]) if ($(id)) $(id).disabled = state.chosen.size === 0;
}

function page(by) {
  state.offset = Math.max(0, state.offset + by);
  state.chosen.clear();
  refresh();
}

async function change(what, kind) {
  const ids = [...state.chosen];
  const list = make("pre", {}, ids.slice(0, 20).map(plain).join("\n") + (ids.length > 20 ? `\n… and ${ids.length - 20} more` : ""));
  const words = what === "drop" ? "Delete for good, with their parameters:" : "Put back into their queues:";
  const answer = await dialog(`${what === "drop" ? "Drop" : "Requeue"} ${ids.length} ${ids.length === 1 ? "job" : "jobs"}?`, make("div", {}, make("p", {}, words), list), [["Cancel", ""], [what === "drop" ? "Drop" : "Requeue", "yes", what === "drop" ? "danger" : ""]]);
  if (answer !== "yes") return;
  try {
    const done = await ask(`${what}?${here()}`, { method: "POST", body: JSON.stringify({ kind, ids }) });
    state.chosen.clear();
    await refresh();
    news(`${what}: ${done.done} of ${done.asked} done`, done.done < done.asked);
  } catch (error) {
    news(error.message, true);
  }
}

async function showJob(id) {
  try {
    const answer = await ask(`job?${here({ id })}`);
    if (!answer.there) throw new Error(`there is no job ${plain(id)}: it was never here, or its result was collected`);
    const it = answer.report;
    const rows = [["place", it.state.place], ["worker", it.state.worker], ["error", it.state.error], ["unreadable", it.unreadable]];
    if (it.job) rows.push(["dialect", it.job.dialect], ["reply to", it.job.reply_to], ["queued", it.job.queued && new Date(it.job.queued * 1000).toISOString()], ["started", it.job.started && new Date(it.job.started * 1000).toISOString()], ["processed", it.job.processed && new Date(it.job.processed * 1000).toISOString()]);
    const facts = make("table", {}, ...rows.filter((row) => row[1] !== null && row[1] !== undefined && row[1] !== "").map(([name, content]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value(content)))));
    const parts = [facts];
    const show = (title, content) => parts.push(make("h3", {}, title), make("pre", {}, plain(JSON.stringify(content, null, 2)).replaceAll("\\u000a", "\n")));
    if (it.job) show("Parameters", it.job.data);
    if (it.job && Object.keys(it.job.meta || {}).length) show("Further fields", it.job.meta);
    if (it.failure) show("Failure", it.failure);
    else if (it.state.place === "processed" && it.job) show("Result", it.result);
    if (it.state.traceback) show("Traceback", it.state.traceback);
    if (it.fields) show("Raw fields", it.fields);
    await dialog(`Job ${plain(it.id)}`, make("div", {}, ...parts), [["Close", ""]]);
  } catch (error) {
    news(error.message, true);
  }
}

async function showSteps() {
  const list = make("ol", { class: "steps", "aria-live": "off", id: "steps" });
  $("main").replaceChildren(make("section", { class: "wide" }, make("h2", {}, "Steps of the peers that are connected to the tap"), list));
  news("waiting for steps");
  const response = await ask("steps", { stream: true });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  state.reader = reader;
  let rest = "";
  for (;;) {
    const { value: chunk, done } = await reader.read();
    if (done || state.reader !== reader) return;
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line) continue;
      let text = line;
      try {
        const step = JSON.parse(line);
        text = [step.t === undefined ? "" : Number(step.t).toFixed(3), step.role, step.kind, step.command, step.about, step.job, ...(step.flags || []).map((flag) => `! ${flag.id || ""} ${flag.message || ""}`)].filter(Boolean).map((part) => (typeof part === "object" ? JSON.stringify(part) : part)).join("  ");
        if (!step.kind) text = line;
      } catch { /* shown as it came */ }
      list.append(make("li", { class: line.includes('"flags"') ? "warn" : "" }, plain(text)));
    }
    while (list.childElementCount > 500) list.firstChild.remove();
    list.scrollTop = list.scrollHeight;
    news(`${list.childElementCount} steps shown`);
  }
}

// -- going on

async function refresh() {
  try {
    if (state.view === "overview") await showOverview();
    else if (state.view !== "steps") await showList(state.view);
  } catch (error) {
    news(error.message, true);
  }
}

function go(view) {
  if (state.reader) { state.reader.cancel(); state.reader = null; }
  state.view = view;
  state.offset = 0;
  state.chosen.clear();
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.view === view) button.setAttribute("aria-current", "page"); else button.removeAttribute("aria-current");
  }
  location.hash = view;
  if (view === "steps") showSteps().catch((error) => news(error.message, true)); else refresh();
}

function tick() {
  const busy = $("dialog").open || state.chosen.size || (document.activeElement && document.activeElement.id === "queue") || document.hidden;
  if (!busy && state.view !== "steps") refresh();
}

async function begin() {
  const hash = location.hash.slice(1);
  if (hash.startsWith("token=")) {
    sessionStorage.setItem("jobwire-token", decodeURIComponent(hash.slice(6)));
    history.replaceState(null, "", location.pathname);
  }
  state.token = sessionStorage.getItem("jobwire-token") || "";
  try {
    state.setting = await ask("setting");
  } catch (error) {
    news(error.message, true);
    return;
  }
  state.setting.sources.forEach((name, index) => $("source").append(make("option", { value: index }, plain(name))));
  $("source").addEventListener("change", (event) => { state.source = Number(event.target.value); go(state.view === "steps" ? "overview" : state.view); });
  $("steps-tab").hidden = !state.setting.tap;
  $("version").textContent = `jobwire ${state.setting.version}${state.setting.read_only ? ", for reading only" : ""}`;
  for (const button of document.querySelectorAll("nav button")) button.addEventListener("click", () => go(button.dataset.view));
  $("find").addEventListener("submit", (event) => { event.preventDefault(); const id = $("find-id").value.trim(); if (id) showJob(id); });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, textarea") || $("dialog").open || event.ctrlKey || event.metaKey || event.altKey) return;
    const views = [...document.querySelectorAll("nav button:not([hidden])")].map((button) => button.dataset.view);
    if (event.key >= "1" && event.key <= String(views.length)) go(views[Number(event.key) - 1]);
    else if (event.key === "/") { event.preventDefault(); $("find-id").focus(); }
    else if (event.key === "r") refresh();
  });
  const wanted = ["overview", ...Object.keys(NAMES)].includes(hash) ? hash : "overview";
  go(wanted);
  state.timer = setInterval(tick, 3000);
}

begin();
