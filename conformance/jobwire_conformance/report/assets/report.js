"use strict";
(() => {
const LIMIT = 400;
const AXES = ["mode", "client", "worker"];
const KEYS = `<kbd>/</kbd> filter · <kbd>j</kbd> <kbd>k</kbd> next and previous verdict · <kbd>Esc</kbd> back to the list`;
const SETUP = /^(CLIENT|PING|HELLO|AUTH|SELECT|INFO|COMMAND)( |$)/i;

const $ = id => document.getElementById(id);
const esc = s => String(s).replace(/[&<>"]/g, c => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}[c]));
const uniq = list => [...new Set(list)];
const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const pill = (verdict, words) => `<span class="pill ${CLASS[verdict]}">${SIGN[verdict]} ${esc(words || verdict)}</span>`;

const data = JSON.parse($("data").textContent);
// The kinds of verdicts, in the order in which lists show them.
const of = what => Object.fromEntries(data.kinds.map(kind => [kind.name, kind[what]]));
const SIGN = of("sign"), CLASS = of("look");
const ORDER = data.kinds.map(kind => kind.name), BAD = data.kinds.filter(kind => kind.wrong).map(kind => kind.name);
const {header, footer} = data;
const verdicts = data.verdicts.map((row, n) => {
  const v = {n};
  data.fields.forEach((name, i) => v[name] = row[i]);
  v.client ??= "(runner)";
  v.worker ??= "(runner)";
  v.extra = Object.entries(v.axes).map(([k, x]) => `${k}=${x}`).join(" ");
  return v;
});
const counts = {};
for (const v of verdicts) counts[v.verdict] = (counts[v.verdict] || 0) + 1;
const byRank = [...verdicts].sort((a, b) => ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict) || a.n - b.n);
const peers = uniq([...header.peers.map(p => p.name), "(runner)", ...verdicts.flatMap(v => [v.client, v.worker])]);
const inOrder = names => uniq(names).sort((a, b) => peers.indexOf(a) - peers.indexOf(b));
const words = v => v.words ??= [v.case, v.mode, v.client, v.worker, v.extra, v.verdict, v.reason, ...data.cases[v.case].proves, data.cases[v.case].title].join(" ").toLowerCase();

// --- dark and light
const root = document.documentElement;
const setTheme = dark => {
  root.classList.toggle("dark", dark);
  $("theme").setAttribute("aria-pressed", String(dark));
  $("theme").textContent = dark ? "Light" : "Dark";
};
setTheme(location.search.includes("theme=") ? location.search.includes("theme=dark") : matchMedia("(prefers-color-scheme: dark)").matches);
$("theme").onclick = () => setTheme(!root.classList.contains("dark"));

$("state").innerHTML = footer.conformant ? pill("pass", data.judgement) : pill("fail", `not conformant (${footer.status})`);
$("foot").innerHTML = [`Suite ${header.suite}`, `driver protocol ${header.driver}`, `profile ${header.profile}${header.shard ? `, shard ${header.shard}` : ""}`, header.redis.version, ...Object.values(header.machine), `began ${header.began}`, `${footer.seconds.toFixed(0)} s`].filter(Boolean).map(esc).join(" · ") + `<br>${KEYS}`;

// --- filters; the address holds them, so that a view can be shared
const filters = {q: "", verdict: "", mode: "", client: "", worker: ""};
const listAddress = () => { const set = Object.entries(filters).filter(([, x]) => x); return set.length ? "#?" + new URLSearchParams(set) : "#"; };
const readAddress = () => { const given = new URLSearchParams(location.hash.slice(2)); for (const k in filters) filters[k] = given.get(k) || ""; };
const chosen = () => {
  const wanted = filters.q.toLowerCase().split(/\s+/).filter(Boolean);
  return byRank.filter(v => ["verdict", ...AXES].every(k => !filters[k] || v[k] === filters[k]) && wanted.every(w => words(v).includes(w)));
};
const choose = (some, focus) => {
  Object.assign(filters, some);
  history.pushState(null, "", listAddress());
  overview();
  if (focus) { $("list").scrollIntoView(); $("list").focus({preventScroll: true}); }
};

// --- the overview
function overview() {
  const option = name => `<select id="f-${name}" aria-label="${name}"><option value="">${name}: all</option>${inOrder(verdicts.map(v => v[name])).map(x => `<option${filters[name] === x ? " selected" : ""}>${esc(x)}</option>`).join("")}</select>`;
  const chip = k => `<button type="button" class="chip ${CLASS[k]}" data-verdict="${k}" aria-pressed="${filters.verdict === k}">${SIGN[k]} ${k} <strong>${counts[k]}</strong></button>`;
  $("main").innerHTML = `
    <div class="chips" id="chips">${ORDER.filter(k => counts[k]).map(chip).join("")}</div>
    ${wrong()}
    ${leftOut()}
    <p class="soft">${plural(header.cases, "case")}, ${plural(header.instances, "instance")}. A row is the peer that submits, a column the peer that works; (runner) is the suite itself in the place of one side. A cell says how many instances passed, ✗ how many did not, × how many failed as a list says, – how many a peer does not support. Choose a cell to see them.</p>
    <div id="matrices">${uniq(verdicts.map(v => v.mode)).map(matrix).join("")}</div>
    <h2 id="list" tabindex="-1">Verdicts</h2>
    <div class="filters" role="search">
      <input id="f-q" type="search" placeholder="Filter: case, requirement, words" aria-label="Filter by case, requirement or words" value="${esc(filters.q)}">
      ${AXES.map(option).join("")}
      <button type="button" id="clear">Clear</button>
    </div>
    <p class="soft" id="shown" role="status"></p>
    <table class="list"><thead><tr><th>verdict</th><th>case</th><th>mode</th><th>client → worker</th><th>axes</th><th>s</th></tr></thead><tbody id="rows"></tbody></table>
    <p><button type="button" id="more" hidden>Show all</button></p>
    ${reasons()}
    <h2>Peers</h2><div class="scroll"><table><thead><tr><th>peer</th><th>what it is</th><th>libraries</th><th>modes</th></tr></thead><tbody>${header.peers.map(p => `<tr><th scope="row">${esc(p.name)}</th><td>${p.missing ? `${pill("fail", "missing")} ${esc(p.missing)}` : `${esc(p.implementation)} ${esc(p.version)}<br><span class="soft">${esc(p.runtime)}</span>`}</td><td class="soft">${Object.entries(p.libraries).map(([k, x]) => `${esc(k)} ${esc(x)}`).join(", ")}</td><td>${esc(p.modes.join(", "))}</td></tr>`).join("")}</tbody></table></div>`;
  $("matrices").onclick = event => {
    const b = event.target.closest("button");
    if (b) choose({q: "", verdict: "", mode: b.dataset.mode, client: b.dataset.client, worker: b.dataset.worker}, true);
  };
  $("main").querySelectorAll("[data-reason]").forEach(b => b.onclick = () => choose({q: b.dataset.reason, verdict: b.dataset.of, mode: "", client: "", worker: ""}, true));
  for (const name of AXES) $(`f-${name}`).onchange = e => { filters[name] = e.target.value; refresh(); };
  $("f-q").oninput = e => { filters.q = e.target.value; refresh(); };
  $("chips").onclick = event => {
    const b = event.target.closest("button");
    if (!b) return;
    filters.verdict = filters.verdict === b.dataset.verdict ? "" : b.dataset.verdict;
    for (const c of $("chips").children) c.setAttribute("aria-pressed", String(c.dataset.verdict === filters.verdict));
    refresh();
  };
  $("clear").onclick = () => choose(Object.fromEntries(Object.keys(filters).map(k => [k, ""])), true);
  $("more").onclick = () => rows(true);
  rows();
}

// What went wrong, a line a reason: the first thing that anybody looks for.
function wrong() {
  if (footer.conformant) return "";
  const groups = new Map();
  for (const v of byRank) {
    const required = v.verdict === "unsupported" && v.required;
    if (!BAD.includes(v.verdict) && !required) continue;
    const reason = v.reason.split("\n")[0], key = v.verdict + "\u0000" + reason;
    groups.set(key, [...(groups.get(key) || []), v]);
  }
  const why = footer.why.filter(w => !/^\d+ [a-z-]+$/.test(w));
  const where = v => `<a href="#v${v.n}"><strong>${esc(v.case)}</strong></a> <span class="soft">${esc(v.client)} → ${esc(v.worker)}, ${esc(v.mode)}</span>`;
  const line = list => `<li>${pill(list[0].verdict, list.length > 1 ? `${list[0].verdict} ${list.length}` : "")} ${esc(list[0].reason.split("\n")[0])}: ${list.slice(0, 3).map(where).join("; ")}${list.length > 3 ? ` <button type="button" class="chip known" data-reason="${esc(list[0].reason.split("\n")[0])}" data-of="${list[0].verdict}">all ${list.length}</button>` : ""}</li>`;
  return `<section class="panel wrong" id="wrong"><h2>Why it is not conformant</h2><ul>${why.map(w => `<li>${esc(w)}</li>`).join("")}${[...groups.values()].slice(0, 20).map(line).join("")}</ul>${groups.size > 20 ? `<p class="soft">and ${plural(groups.size - 20, "reason")} more, in the list below</p>` : ""}</section>`;
}

// What a peer does not claim is not asked for, and the judgement does not speak of it.
function leftOut() {
  const names = Object.keys(footer.not_tried);
  if (!names.length) return "";
  return `<section class="panel" id="left-out"><h2>What is not claimed was not tried</h2><ul>${names.map(name => `<li><strong>${esc(name)}</strong> claims ${esc(footer.claimed[name])}. Not tried: ${esc(footer.not_tried[name])}.</li>`).join("")}</ul></section>`;
}

// Expected deviations: a row a reason.
function reasons() {
  const groups = new Map();
  for (const v of verdicts) {
    if (!["known-failing", "lenient", "flaky"].includes(v.verdict) && !(v.verdict === "unsupported" && !v.required)) continue;
    const full = v.reason.replace(/ \(shown by: [^]*$/, "");
    // "the worker does not claim X: why": what lacks differs, the reason is the same.
    const reason = v.verdict === "unsupported" ? full.replace(/^[^:]*: /, "") : full;
    const key = v.verdict + "\u0000" + reason + "\u0000" + v.link, g = groups.get(key) || {verdict: v.verdict, reason, link: v.link, cases: new Set(), pairs: new Set(), count: 0};
    g.cases.add(v.case);
    g.pairs.add(`${v.client} → ${v.worker}`);
    g.count++;
    groups.set(key, g);
  }
  if (!groups.size) return "";
  const some = (set, most) => esc([...set].slice(0, most).join(", ")) + (set.size > most ? ` and ${set.size - most} more` : "");
  return `<h2>What is expected, and why</h2><div class="scroll"><table class="expected"><thead><tr><th>verdict</th><th>reason</th><th>where</th><th>cases</th><th>pairs</th><th></th></tr></thead><tbody>${[...groups.values()].map(g => `<tr><td>${pill(g.verdict)}</td><td>${esc(g.reason)}</td><td class="soft">${esc(g.link)}</td><td>${some(g.cases, 4)}</td><td>${some(g.pairs, 3)}</td><td><button type="button" data-reason="${esc(g.reason)}" data-of="${g.verdict}">${g.count}</button></td></tr>`).join("")}</tbody></table></div>`;
}

function matrix(mode) {
  const mine = verdicts.filter(v => v.mode === mode), cells = new Map();
  for (const v of mine) {
    const key = v.client + "\u0000" + v.worker, c = cells.get(key) || {good: 0, bad: 0, known: 0, un: 0};
    if (v.verdict === "unsupported") c.un++; else if (v.verdict === "known-failing") c.known++; else if (BAD.includes(v.verdict)) c.bad++; else c.good++;
    cells.set(key, c);
  }
  const clients = inOrder(mine.map(v => v.client)), workers = inOrder(mine.map(v => v.worker));
  const head = name => { const [kind, ...rest] = name.split(":"); return rest.length && kind !== "cmd" ? `<span class="soft">${esc(kind)}</span><br>${esc(rest.join(":"))}` : esc(name); };
  const cell = (client, worker) => {
    const c = cells.get(client + "\u0000" + worker);
    if (!c) return `<td class="soft" aria-label="not run">·</td>`;
    const [text, look] = c.bad ? [`✗ ${c.bad}`, "bad"] : c.good ? [`✓ ${c.good}`, "good"] : c.known ? [`× ${c.known}`, "known"] : [`– ${c.un}`, "warn"];
    const small = [c.bad && c.good ? `✓${c.good}` : "", c.known && (c.bad || c.good) ? `×${c.known}` : "", c.un && (c.bad || c.good || c.known) ? `–${c.un}` : ""].filter(Boolean).join(" ");
    const full = [`${client} → ${worker}, ${mode}: ${c.good} passed`, c.bad ? `${c.bad} did not` : "", c.known ? `${c.known} known to fail` : "", c.un ? `${c.un} unsupported` : ""].filter(Boolean).join(", ");
    return `<td class="${look}"><button type="button" data-mode="${esc(mode)}" data-client="${esc(client)}" data-worker="${esc(worker)}" title="${esc(full)}" aria-label="${esc(full)}">${text}${small ? `<small>${small}</small>` : ""}</button></td>`;
  };
  return `<h2>Mode ${esc(mode)}</h2><div class="scroll"><table class="matrix"><thead><tr><th>client ↓ worker →</th>${workers.map(w => `<th scope="col">${head(w)}</th>`).join("")}</tr></thead><tbody>${clients.map(c => `<tr><th scope="row">${esc(c)}</th>${workers.map(w => cell(c, w)).join("")}</tr>`).join("")}</tbody></table></div>`;
}

function refresh() { history.replaceState(null, "", listAddress()); rows(); }

function rows(all) {
  const found = chosen(), some = all ? found : found.slice(0, LIMIT);
  $("rows").innerHTML = some.map(v => `<tr class="row"><td>${pill(v.verdict)}</td><td><a class="id" href="#v${v.n}">${esc(v.case)}</a><br><span class="soft">${esc(v.verdict !== "pass" && v.reason ? v.reason : data.cases[v.case].title)}</span></td><td>${esc(v.mode)}</td><td>${esc(v.client)} → ${esc(v.worker)}</td><td>${esc(v.extra)}</td><td>${v.seconds.toFixed(2)}</td></tr>`).join("");
  $("shown").textContent = `${found.length} of ${verdicts.length} verdicts${some.length < found.length ? `, the first ${some.length} shown` : ""}`;
  $("more").hidden = some.length === found.length;
}

// --- the evidence: packed, some verdicts a block, and unpacked when it is looked at
const unpacked = new Map();
async function evidence(n) {
  const block = Math.floor(n / data.block);
  if (!unpacked.has(block)) {
    const bytes = Uint8Array.from(atob($("e" + block).textContent), c => c.charCodeAt(0));
    const stream = new DecompressionStream("deflate"), writer = stream.writable.getWriter();
    writer.write(bytes).catch(() => {});
    writer.close().catch(() => {});
    unpacked.set(block, JSON.parse(await new Response(stream.readable).text()));
  }
  return unpacked.get(block)[n % data.block];
}

// --- the page of a case, with the evidence of one instance
async function page(n) {
  const v = verdicts[n];
  if (!v) return overview();
  const c = data.cases[v.case], list = chosen(), at = list.indexOf(v);
  const [before, after] = at < 0 ? [] : [list[at - 1], list[at + 1]];
  let e;
  try {
    e = await evidence(n);
  } catch (fault) {
    $("main").innerHTML = `<p>This browser cannot unpack the evidence (${esc(fault)}); <code>jobwire-conformance render report.jsonl --format terminal</code> can.</p>`;
    return;
  }
  if (location.hash !== "#v" + n) return;
  $("main").innerHTML = `
    <p class="between"><a href="${listAddress()}">← all verdicts</a><span class="grow"></span>${before ? `<a href="#v${before.n}" id="before">← previous</a>` : ""}${after ? `<a href="#v${after.n}" id="after">next →</a>` : ""}</p>
    <h2 tabindex="-1" id="title">${esc(v.case)}</h2>
    <p>${esc(c.title)}</p>
    <p>${pill(v.verdict)} ${esc(v.reason)}${v.link ? ` <span class="soft">(${esc(v.link)})</span>` : ""}</p>
    <div class="panel"><dl>
      <dt>between</dt><dd>${esc(v.client)} → ${esc(v.worker)}, mode ${esc(v.mode)}${v.extra ? `, ${esc(v.extra)}` : ""}</dd>
      <dt>proves</dt><dd>${c.proves.map(esc).join(", ")}</dd>
      <dt>source</dt><dd>${esc(c.source)}</dd>
      <dt>level</dt><dd>${esc(c.level)}${v.required ? "" : " (not required here)"}</dd>
      <dt>took</dt><dd>${v.seconds.toFixed(3)} s${v.tries > 1 ? `, ${v.tries} tries` : ""}</dd>
    </dl></div>
    ${e.expected || e.actual ? `<div class="two"><div><h3>Expected</h3><pre>${esc(e.expected)}</pre></div><div><h3>Actual</h3><pre>${esc(e.actual)}</pre></div></div>` : ""}
    ${siblings(v)}
    ${wire(e)}
    <h3>Left in Redis</h3><pre>${esc(Object.keys(e.keys).length ? JSON.stringify(e.keys, null, 2) : "nothing")}</pre>
    <h3>Steps</h3><pre>${esc(e.steps.join("\n") || "none")}</pre>
    ${Object.entries(e.stderr).map(([who, text]) => `<h3>stderr of ${esc(who)}</h3><pre>${esc(text)}</pre>`).join("") || "<h3>stderr</h3><p class=soft>both silent</p>"}`;
  for (const box of $("main").querySelectorAll("#wire-filters button")) box.onclick = () => showWire(box);
  scrollTo(0, 0);
  $("title").focus({preventScroll: true});
}

function siblings(v) {
  const list = verdicts.filter(o => o.case === v.case);
  if (list.length < 2) return "";
  const clients = inOrder(list.map(o => o.client)), workers = inOrder(list.map(o => o.worker));
  const links = (client, worker) => list.filter(o => o.client === client && o.worker === worker).map(o => `<a class="${CLASS[o.verdict]}" href="#v${o.n}"${o.n === v.n ? ' aria-current="true"' : ""} title="${esc(`${o.verdict}: ${o.mode} ${o.extra}`)}" aria-label="${esc(`${o.verdict}: ${o.client} → ${o.worker} ${o.mode} ${o.extra}`)}">${SIGN[o.verdict]}</a>`).join(" ") || "·";
  return `<details${list.length > 60 ? "" : " open"}><summary>All instances of this case (${list.length})</summary><div class="scroll"><table class="matrix cases"><thead><tr><th>client ↓ worker →</th>${workers.map(w => `<th scope="col">${esc(w)}</th>`).join("")}</tr></thead><tbody>${clients.map(c => `<tr><th scope="row">${esc(c)}</th>${workers.map(w => `<td>${links(c, w)}</td>`).join("")}</tr>`).join("")}</tbody></table></div></details>`;
}

// Each connection begins with its set-up, which tells nothing about jobs and is hidden until asked for.
function wire(e) {
  if (!e.wire.length) return `<h3>On the wire</h3><p class="soft">nothing</p>`;
  const busy = new Set(), roles = uniq(e.wire.map(line => line[2]));
  const row = ([t, conn, role, dir, kind, text]) => {
    if (kind === "command" && !SETUP.test(text)) busy.add(conn);
    const quiet = !busy.has(conn), shown = ["command", "reply", "push"].includes(kind) ? "" : `<em>${esc(kind)}</em> `;
    return `<tr class="${esc(role.replace(/\d+$/, ""))} ${esc(kind)}" data-role="${esc(role)}"${quiet ? " data-quiet hidden" : ""}><td class="t">${t.toFixed(3)}</td><td class="c">#${conn}</td><td class="w">${esc(role)} ${dir === ">" ? "→" : dir === "<" ? "←" : ""}</td><td class="mono">${shown}${esc(text || "")}</td></tr>`;
  };
  const body = e.wire.map(row).join("");
  return `<h3>On the wire</h3><div class="chips" id="wire-filters">${roles.map(r => `<button type="button" class="chip known" data-role="${esc(r)}" aria-pressed="true">${esc(r)}</button>`).join("")}<button type="button" class="chip known" data-quiet aria-pressed="false">connection set-up</button></div><div class="scroll"><table class="wire" id="wire"><tbody>${body}</tbody></table></div>${e.wire_left_out ? `<p class="soft">${plural(e.wire_left_out, "event")} left out of the middle</p>` : ""}`;
}

function showWire(button) {
  button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
  const on = uniq([...$("wire-filters").children].filter(b => b.getAttribute("aria-pressed") === "true").map(b => b.dataset.role ?? "(quiet)"));
  for (const line of $("wire").rows) line.hidden = !on.includes(line.dataset.role) || ("quiet" in line.dataset && !on.includes("(quiet)"));
}

function route() {
  const m = /^#v(\d+)$/.exec(location.hash);
  if (m) return page(+m[1]);
  if (location.hash === "#list") { $("list")?.focus(); return; }
  readAddress();
  overview();
}
addEventListener("hashchange", route);
addEventListener("popstate", route);
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === "Escape" && /^#v/.test(location.hash)) location.hash = listAddress();
  if (typing) return;
  if (event.key === "/" && $("f-q")) { event.preventDefault(); $("f-q").focus(); }
  if (event.key === "j") $("after")?.click();
  if (event.key === "k") $("before")?.click();
});
if (location.hash === "#list") overview();
route();
document.documentElement.dataset.ready = String(Math.round(performance.now()));
})();
