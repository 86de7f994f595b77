// The status page. What machines sent is only ever set as text (textContent, attributes by setAttribute): no HTML is made from it.
"use strict";

const EVERY = 2000, OLD = 30, SHOWN_EVENTS = 50, SVG = "http://www.w3.org/2000/svg";
const WORDS = { done: "up", loaded: "loaded", running: "booting", stuck: "stuck", never: "not booted yet" };
const byId = (id) => document.getElementById(id);
const state = { status: null, error: "", tag: "", at: 0, rest: "", events: [], open: "", failures: 0 };

function make(tag, cls, text, parent) {
  const made = document.createElement(tag);
  if (cls) made.className = cls;
  if (text !== undefined && text !== "") made.textContent = shorten(text);
  if (parent) parent.append(made);
  return made;
}
function shorten(text) { const whole = String(text); return whole.length > 300 ? whole.slice(0, 300) + "…" : whole; }
function number(value) { return Number.isFinite(value) ? value : 0; }
function list(value) { return Array.isArray(value) ? value : []; }
function verdictOf(node) { return Object.hasOwn(WORDS, node.verdict) ? node.verdict : "never"; }
function nameOf(node) { return node.name || node.hostname || node.mac || "?"; }
function seconds(value) { return number(value).toFixed(1) + " s"; }
function size(bytes) { return bytes > 262144 ? (bytes / 1048576).toFixed(1) + " MiB" : ""; }
function when(time) { return new Date(number(time) * 1000).toLocaleString(); }

function shape(tag, attributes, parent) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (parent) parent.append(made);
  return made;
}
function drawing(cls, label, width, height) {
  const svg = shape("svg", { class: cls, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
  svg.setAttribute("aria-label", label);
  return svg;
}

// A bar of the whole boot, a piece for each stage.
function bars(node) {
  const stages = list(node.stages), span = Math.max(0.001, ...stages.map((stage) => number(stage.to)));
  const label = stages.map((stage) => `${stage.name} ${seconds(stage.to)}`).join(", ");
  const svg = drawing("bars", `Stages: ${shorten(label)}`, 1000, 10);
  shape("rect", { class: "track", width: 1000, height: 10 }, svg);
  let from = 0;
  stages.forEach((stage, at) => {
    const to = Math.min(1000, number(stage.to) / span * 1000);
    if (to > from) shape("rect", { class: (stage.ok ? verdictOf(node) : "stuck") + (at % 2 ? " alt" : ""), x: from, width: Math.max(2, to - from), height: 10 }, svg);
    from = Math.max(from, to);
  });
  return svg;
}

// The last boots, the newest on the right: as high as it took long, low and red where it did not come up.
function sparkline(node) {
  const boots = list(node.history).slice(-20), most = Math.max(1, ...boots.map(number));
  const svg = drawing("spark", `Last ${boots.length} boots: ${boots.map((one) => one === null ? "not up" : seconds(one)).join(", ")}`, 200, 20);
  boots.forEach((one, at) => {
    const height = one === null ? 4 : Math.max(2, number(one) / most * 20);
    shape("rect", { class: one === null ? "stuck" : "done", x: at * 10, y: 20 - height, width: 8, height }, svg);
  });
  return svg;
}

function fillCard(card, node) {
  const verdict = verdictOf(node);
  card.className = `card ${verdict}`;
  card.replaceChildren();
  make("span", `badge ${verdict}`, WORDS[verdict], card);
  make("span", "name", nameOf(node), card).dir = "auto";
  make("span", "fact", [node.mac, node.ip, node.firmware].filter(Boolean).join(" · "), card);
  if (node.os) make("span", "fact", node.os + (node.installed ? ", installed" : ""), card);
  if (node.inventory) make("span", "fact", node.inventory, card).dir = "auto";
  if (list(node.stages).length) {
    card.append(bars(node));
    make("span", "fact", `${seconds(node.seconds)}, started ${when(node.started)}`, card);
  }
  if (list(node.history).length > 1) card.append(sparkline(node));
  const problem = list(node.problems)[0];
  if (problem) make("span", "problem", problem.seen, card).dir = "auto";
}

function wanted(node) {
  const only = byId("only").value, words = byId("words").value.trim().toLowerCase();
  if (only === "unknown" ? node.known : only && verdictOf(node) !== only) return false;
  return !words || [node.name, node.mac, node.hostname, node.inventory, node.ip].join(" ").toLowerCase().includes(words);
}

// Cards are kept and refilled, so that the focus and the place on the page stay.
function showNodes() {
  const box = byId("nodes"), old = new Map([...box.children].map((item) => [item.dataset.mac, item]));
  const items = list(state.status.nodes).filter(wanted).map((node) => {
    const mac = String(node.mac), content = JSON.stringify(node);
    let item = old.get(mac);
    if (!item) {
      item = document.createElement("li");
      item.dataset.mac = mac;
      const card = make("button", "card", "", item);
      card.type = "button";
      card.addEventListener("click", () => { location.hash = "node=" + encodeURIComponent(mac); });
    }
    if (item.shown !== content) { fillCard(item.firstChild, node); item.shown = content; }
    return item;
  });
  if (items.length !== box.children.length || items.some((item, at) => box.children[at] !== item)) box.replaceChildren(...items);
  const left = number(state.status.left_out) + number(state.status.forgotten);
  byId("more").hidden = !left && items.length > 0;
  byId("more").textContent = items.length ? `${left} more boots or machines that are not in rack.yml are not shown.` : "No machine to show.";
}

function showHead() {
  const status = state.status, age = Date.now() / 1000 - number(status && status.time), asof = byId("asof");
  let text = "Nothing is known yet: rackctl nodes writes what it knows, status: true in rack.yml keeps this page live.";
  if (status) {
    const live = status.live && age < OLD;
    text = live ? `Live, as of ${when(status.time)}.` : `Live updates are off. This was known at ${when(status.time)}.`;
    asof.className = live ? "" : "old";
    if (number(status.strange_lines)) text += ` ${status.strange_lines} log lines could not be read.`;
  }
  if (state.failures > 1) { text = "The master does not answer. " + text; asof.className = "old"; }
  if (asof.textContent !== text) asof.textContent = text;
  byId("counts").replaceChildren(...Object.entries(WORDS).map(([verdict, word]) => {
    const box = document.createElement("div");
    make("dt", "", word, box);
    make("dd", "", String(number(status && status.counts && status.counts[verdict])), box);
    return box;
  }));
}

function row(table, cells) {
  const line = make("tr", "", "", table);
  for (const [tag, cls, content] of cells) {
    const cell = make(tag, cls, content instanceof Node ? "" : content, line);
    if (content instanceof Node) cell.append(content);
  }
  return line;
}

function stageBar(stage, span, before) {
  const svg = drawing("bars", "", 1000, 10);
  svg.setAttribute("aria-hidden", "true");
  shape("rect", { class: "track", width: 1000, height: 10 }, svg);
  const from = Math.min(before, number(stage.to)) / span * 1000, to = number(stage.to) / span * 1000;
  shape("rect", { class: stage.ok ? "done" : "stuck", x: from, width: Math.max(4, to - from), height: 10 }, svg);
  return svg;
}

function showDetail() {
  const dialog = byId("detail"), mac = new URLSearchParams(location.hash.slice(1)).get("node");
  const node = state.status && list(state.status.nodes).find((one) => one.mac === mac);
  if (!node) { if (dialog.open) dialog.close(); state.open = ""; return; }
  const content = JSON.stringify(node);
  if (dialog.open && state.open === content) return;
  state.open = content;
  const focused = dialog.contains(document.activeElement);
  dialog.replaceChildren();
  const title = make("h2", "", nameOf(node), dialog);
  title.id = "detail-title"; title.dir = "auto";
  make("p", "fact", [node.mac, node.ip, node.firmware, node.os, WORDS[verdictOf(node)]].filter(Boolean).join(" · "), dialog);
  if (node.inventory) make("p", "fact", node.inventory, dialog).dir = "auto";
  for (const problem of list(node.problems)) {
    make("p", "problem", problem.seen, dialog).dir = "auto";
    make("p", "", "Usual causes: " + problem.causes, dialog);
    make("p", "", "What to do: " + problem.remedy, dialog);
  }
  const stages = list(node.stages), span = Math.max(0.001, ...stages.map((stage) => number(stage.to)));
  if (stages.length) {
    const table = make("table", "", "", dialog);
    make("caption", "quiet", "Stages of the last boot", table);
    row(make("thead", "", "", table), [["th", "", "stage"], ["th", "", "took"], ["th", "", "at"], ["th", "", "size"], ["th", "", ""]]);
    const body = make("tbody", "", "", table);
    let before = 0;
    for (const stage of stages) {
      row(body, [["th", "", stage.name + (stage.ok ? "" : " (failed)")], ["td", "number", seconds(Math.max(0, stage.to - before))],
        ["td", "number", seconds(stage.to)], ["td", "number", size(number(stage.bytes))], ["td", "bar", stageBar(stage, span, before)]]);
      before = Math.max(before, number(stage.to));
    }
  }
  for (const line of list(node.compared)) make("p", "fact", line, dialog);
  const close = make("button", "", "Close", dialog);
  close.type = "button";
  close.addEventListener("click", () => { dialog.close(); });
  if (!dialog.open) dialog.showModal(); else if (focused) close.focus();
}

function showEvents() {
  byId("events").replaceChildren(...state.events.slice(-SHOWN_EVENTS).reverse().map((event) => {
    const item = document.createElement("li");
    item.dir = "auto";
    const detail = event.detail || {};
    const what = detail.problem ? ` FAILED (${detail.problem})` : "";
    item.textContent = shorten(`${when(event.time)}  ${event.mac || event.ip}  ${event.stage}${what}  ${detail.uri || detail.file || ""}`);
    return item;
  }));
}

async function readStatus() {
  const answer = await fetch("/status.json", { headers: state.tag ? { "If-None-Match": state.tag } : {}, cache: "no-store" });
  if (answer.status === 304 || answer.status === 404) return;
  if (!answer.ok) throw new Error(String(answer.status));
  const found = await answer.json();
  if (found && found.format === 1) { state.status = found; state.tag = answer.headers.get("ETag") || ""; }
}

// The stream is a file that grows: only what is new of it is asked for.
async function readEvents() {
  const answer = await fetch("/events.jsonl", { headers: { Range: `bytes=${state.at}-` }, cache: "no-store" });
  if (answer.status === 416) {
    const whole = Number((answer.headers.get("Content-Range") || "").split("/")[1]);
    if (whole < state.at) { state.at = 0; state.rest = ""; }
    return;
  }
  if (answer.status !== 206 && answer.status !== 200) return;
  const data = await answer.arrayBuffer();
  if (answer.status === 200) state.at = 0;
  state.at += data.byteLength;
  const lines = (state.rest + new TextDecoder().decode(data)).split("\n");
  state.rest = lines.pop();
  for (const line of lines) { try { state.events.push(JSON.parse(line)); } catch { /* torn by a new beginning */ } }
  state.events = state.events.filter((event) => event && typeof event === "object").slice(-SHOWN_EVENTS);
}

async function tick() {
  if (!document.hidden || !state.status) {
    try { await readStatus(); await readEvents(); state.failures = 0; } catch { state.failures += 1; }
    show();
  }
  setTimeout(tick, EVERY);
}
function show() { showHead(); if (state.status) { showNodes(); showDetail(); } showEvents(); }

byId("filter").addEventListener("input", show);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("detail").addEventListener("close", () => { if (location.hash) history.replaceState(null, "", location.pathname); state.open = ""; });
addEventListener("hashchange", show);
tick();
