"use strict";
// A person's decision on each row, and the resulting repairs.csv. The rules are those of
// countclip/benchmarks/repairs.py: the workflow accepts what passes here.

const data = JSON.parse(document.getElementById("data").textContent);
const { rows, columns } = data;
const FIELDS = columns.slice(1); // without the index
const at = (id) => document.getElementById(id);
const cards = [...document.querySelectorAll(".card")];
const labels = cards.map((card) => card.getAttribute("aria-label"));
const form = at("form");

// ---- rules for a line of repairs.csv ----

// Texts are normalised as Python's str.strip and a spreadsheet would do it.
const clean = (text) => text.replace(/\r\n?/g, "\n").replace(/[\0-\x08\x0b-\x1f\x7f-\x9f]/g, "").trim();

// A decision as a line of repairs.csv, without its index; null for none.
function lineOf(entry) {
  if (!entry?.action) return null;
  const line = Object.fromEntries(FIELDS.map((field) => [field, clean(entry[field] ?? "")]));
  if (line.action !== "replace") line.url = line.file = "";
  line.sha256 = line.sha256.toLowerCase();
  return line;
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function isWeb(address) {
  try {
    return /^https?:\/\//i.test(address) && /^https?:$/.test(new URL(address).protocol);
  } catch {
    return false;
  }
}

// Whether a path stays in the folder of repairs.csv.
function isInside(path) {
  if (/^[\/\\]|^[a-z]:/i.test(path) || path.includes("\\")) return false;
  let depth = 0;
  return path.split("/").every((name) => {
    depth += name === ".." ? -1 : name === "." || name === "" ? 0 : 1;
    return depth >= 0;
  }) && depth > 0;
}

// The problems of a line by field; none if the workflow will accept it.
function problemsOf(line, row) {
  const wrong = {};
  if (!line) return wrong;
  const { action, url, file, sha256 } = line;
  if (action === "replace") {
    if (!line.provenance) wrong.provenance = "Say where the image comes from.";
    if (!url && !file) wrong.url = "Give an address or a file.";
    else if (url && file) wrong.file = "Give an address or a file, not both.";
    else if (url && !isWeb(url)) wrong.url = "An address begins with http:// or https://";
    else if (file && !isInside(file)) wrong.file = "Name a file in the folder of repairs.csv or below it.";
    if (sha256 && !/^[0-9a-f]{64}$/.test(sha256)) wrong.sha256 = "A sha256 has 64 digits, 0 to 9 and a to f.";
  } else if (!line.reason) {
    wrong.reason = `Say why: ${action} needs a reason.`;
  }
  if (action === "accept" && !row.sha256) {
    wrong.action = "The audit found no image to accept: replace or exclude the row.";
  } else if (action === "accept" && sha256 && sha256 !== row.sha256) {
    wrong.action = "The link now shows another image than the accepted one: choose accept again.";
  }
  return wrong;
}

// ---- decisions: those of repairs.csv, and those made here ----

const start = new Map(Object.entries(data.repairs).map(([index, entry]) => [+index, entry]));
const startLine = (index) => lineOf(start.get(index));
const decisions = new Map([...start].map(([index, entry]) => [index, { ...entry }]));
let downloaded = "{}"; // the changes that are in a file already

const isChanged = (index) => !same(lineOf(decisions.get(index)), startLine(index));

// Row index -> its line, or null where a line of repairs.csv goes.
function changes() {
  const touched = [...new Set([...start.keys(), ...decisions.keys()])].filter(isChanged);
  return Object.fromEntries(touched.map((index) => [index, lineOf(decisions.get(index))]));
}

// A line that is already in repairs.csv is checked by the workflow.
const problemsAt = (index) => (isChanged(index) ? problemsOf(lineOf(decisions.get(index)), rows[index]) : {});

const isCounted = (index) => {
  const action = decisions.get(index)?.action;
  if (action === "accept") return Boolean(rows[index].sha256);
  return action === "replace" || (!action && rows[index].usable);
};

function set(index, entry) {
  if (entry?.action) decisions.set(index, entry);
  else decisions.delete(index);
  keep();
  drawCard(index);
  drawCounts();
}

// Initial fields of an action. An accepted image is identified by its hash, so that another one at
// the same address is noticed; a replacement has another hash than the original.
function begin(index, action) {
  const nothing = Object.fromEntries(FIELDS.map((field) => [field, ""]));
  const before = decisions.get(index) ?? nothing;
  const known = start.get(index)?.action === action ? start.get(index) : nothing;
  const entry = { ...before, action };
  if (action === "accept") entry.sha256 = rows[index].sha256;
  else if (before.action !== action) entry.sha256 = known.sha256;
  // The source of a replacement is not the source of the link's image.
  if (action !== "replace" && before.action !== action) {
    Object.assign(entry, { provenance: known.provenance, license: known.license });
  }
  set(index, entry);
}

function undo(index) {
  set(index, start.has(index) ? { ...start.get(index) } : null);
  fillForm();
}

// ---- storage in this browser, for this audit; a browser may refuse ----

const KEY = `countclip-repairs:${data.digest}`;

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(changes()));
  } catch {
    keepsNothing();
  }
}

function restore() {
  let kept;
  try {
    kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    keepsNothing();
    return;
  }
  for (const [index, line] of Object.entries(kept ?? {})) {
    if (!rows[index]) continue;
    if (line) decisions.set(+index, line);
    else decisions.delete(+index);
  }
  const count = Object.keys(changes()).length;
  if (count) say(`Your ${plural(count, "change")} of an earlier visit ${count === 1 ? "is" : "are"} here again.`, "Discard", discard);
}

function discard() {
  const touched = Object.keys(changes()).map(Number);
  decisions.clear();
  for (const [index, entry] of start) decisions.set(index, { ...entry });
  keep();
  touched.forEach(drawCard);
  drawCounts();
  fillForm();
  say("All is as in repairs.csv.");
}

let warned = false;
function keepsNothing() {
  if (!warned) say("This browser keeps nothing between visits: download before you leave.");
  warned = true;
}

window.addEventListener("beforeunload", (event) => {
  if (JSON.stringify(changes()) !== downloaded) event.preventDefault();
});

// ---- drawing ----

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function say(text, action, does) {
  at("said").textContent = text;
  if (!action) return;
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: action });
  button.addEventListener("click", does);
  at("said").append(button);
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}

const PAST = { accept: "accepted", exclude: "excluded", replace: "replaced" };

function drawCard(index) {
  const card = cards[index];
  const badge = card.querySelector(".decision");
  const action = decisions.get(index)?.action ?? "";
  const incomplete = Object.keys(problemsAt(index)).length > 0;
  card.dataset.action = action;
  badge.classList.toggle("incomplete", incomplete);
  badge.replaceChildren();
  if (action) badge.append(icon(incomplete ? "warning" : action), PAST[action]);
  else if (start.has(index)) badge.append("repair taken back");
  if (incomplete) badge.append(", incomplete");
  else if (isChanged(index)) badge.append(", new");
  card.setAttribute("aria-label", [labels[index], badge.textContent].filter(Boolean).join("; "));
}

function drawCounts() {
  const perClass = {};
  let n = 0;
  rows.forEach((row, index) => {
    if (!isCounted(index)) return;
    n += 1;
    perClass[row.number] = (perClass[row.number] ?? 0) + 1;
  });
  at("n").textContent = n;
  at("missing").textContent = rows.length - n;
  for (const line of document.querySelectorAll(".classes tbody tr")) {
    const yours = line.querySelector(".yours");
    yours.textContent = perClass[line.dataset.number] ?? 0;
    yours.classList.toggle("differs", yours.textContent !== yours.dataset.repaired);
  }
  const count = Object.keys(changes()).length;
  at("changes").textContent = count ? plural(count, "change") : "";
}

// ---- filters ----

const words = rows.map((row, index) => `#${index} ${row.caption} ${row.url} ${row.status}`.toLowerCase());

const DECISION = {
  "": () => true,
  missing: (index) => !isCounted(index),
  todo: (index) => !isCounted(index) && !decisions.has(index),
  offered: (index) => index in data.offers,
  changed: isChanged,
  incomplete: (index) => Object.keys(problemsAt(index)).length > 0,
  accept: (index) => decisions.get(index)?.action === "accept",
  exclude: (index) => decisions.get(index)?.action === "exclude",
  replace: (index) => decisions.get(index)?.action === "replace",
};

function filter() {
  const status = at("status").value;
  const number = at("class").value;
  const wanted = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const decided = DECISION[at("decision").value];
  let shown = 0;
  rows.forEach((row, index) => {
    const fits = (!status || status === row.status || status === (row.usable ? "+" : "-"))
      && (!number || number === String(row.number))
      && wanted.every((word) => words[index].includes(word)) && decided(index);
    cards[index].hidden = !fits;
    shown += fits;
  });
  at("shown").textContent = shown;
  at("empty").hidden = shown > 0;
  at("clear").hidden = shown === rows.length;
  for (const bar of document.querySelectorAll(".bar")) {
    bar.setAttribute("aria-pressed", String(bar.dataset.value === status));
  }
  if (cards[current].hidden && shown) choose(visible()[0]);
}

function show(filters) {
  for (const id of ["search", "status", "class", "decision"]) at(id).value = filters[id] ?? "";
  filter();
}

for (const id of ["search", "status", "class", "decision"]) at(id).addEventListener("input", filter);
at("clear").addEventListener("click", () => { show({}); at("search").focus(); });
at("show-missing").addEventListener("click", () => show({ decision: "missing" }));
at("status-bars").addEventListener("click", (event) => {
  const bar = event.target.closest(".bar");
  if (bar) show({ status: bar.getAttribute("aria-pressed") === "true" ? "" : bar.dataset.value });
});

// ---- the rows: only the selected one is in the order of the Tab key ----

let current = 0;
const visible = () => rows.map((_, index) => index).filter((index) => !cards[index].hidden);

function choose(index, { focus = false, open = false } = {}) {
  cards[current].setAttribute("aria-selected", "false");
  cards[current].tabIndex = -1;
  current = index;
  cards[index].tabIndex = 0;
  if (open) setOpen(true);
  if (!at("panel").hidden) {
    cards[index].setAttribute("aria-selected", "true");
    fillPanel();
  }
  if (focus) cards[index].focus();
}

function setOpen(open) {
  at("panel").hidden = !open;
  document.querySelector("main").classList.toggle("open", open);
  if (!open) cards[current].setAttribute("aria-selected", "false");
}

const isNarrow = () => matchMedia("(max-width: 52rem)").matches;

at("grid").addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  if (!card) return;
  choose(+card.dataset.index, { focus: true, open: true });
  if (isNarrow()) at("panel-title").focus();
});

function move(key) {
  const order = visible();
  const across = getComputedStyle(at("grid")).gridTemplateColumns.split(" ").length;
  const place = order.indexOf(current);
  const last = order.length - 1;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[key];
  let next = { Home: 0, End: last }[key] ?? place + step;
  if (next < 0 || next > last) next = place;
  if (order.length) choose(order[next], { focus: true });
}

// ---- the selected row ----

function link(address) {
  if (!isWeb(address)) return document.createTextNode(address); // a javascript: address stays a text
  const anchor = document.createElement("a");
  Object.assign(anchor, { href: address, textContent: address, target: "_blank", rel: "noopener noreferrer nofollow" });
  return anchor;
}

function fillPanel() {
  const row = rows[current];
  const card = cards[current];
  at("panel-title").textContent = `Row ${current}, class ${row.number}`;
  const picture = card.querySelector(".picture > *").cloneNode(true);
  picture.loading = "eager";
  at("panel-picture").replaceChildren(picture);
  fillCaption(row);
  const said = [data.means[row.status], row.detail].filter(Boolean).join(": ");
  at("panel-status").replaceChildren(card.querySelector(".chip").cloneNode(true), ` ${said}`);
  const facts = { link: row.url, ...row.evidence };
  if (row.mended) facts.shown = "the image that replaces it in repairs.csv";
  at("evidence").replaceChildren(...Object.entries(facts).flatMap(([name, text]) => {
    const [term, value] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    value.append(link(text));
    return [term, value];
  }));
  fillOffer();
  at("panel").scrollTop = 0;
  fillForm();
}

// The whole caption, scrolled to its number word.
function fillCaption({ caption, word: [from, to] }) {
  const letters = [...caption]; // as Python counts them
  const word = Object.assign(document.createElement("mark"), { textContent: letters.slice(from, to).join("") });
  at("panel-caption").replaceChildren(letters.slice(0, from).join(""), word, letters.slice(to).join(""));
  const box = at("panel-caption").parentElement;
  box.scrollTop = word.offsetTop - box.clientHeight / 2;
}

// The suggested replacement of a row without an image, which no person has checked yet.
function fillOffer() {
  const offer = data.offers[current];
  at("offer").hidden = !offer;
  if (!offer) return;
  const picture = Object.assign(document.createElement("img"), { src: offer.picture, alt: "the suggested image" });
  at("offer-picture").replaceChildren(...(offer.picture ? [picture] : []));
  at("offer-text").replaceChildren("Suggestion: ", link(offer.url || offer.file), `, ${offer.provenance}`);
}

function take() {
  const { picture, ...line } = data.offers[current];
  choose(current, { open: true });
  set(current, line);
  fillForm();
  if (line.file) say(`Copy ${data.offered}/${line.file} to ${line.file} beside your repairs.csv.`);
}
at("take").addEventListener("click", take);

function fillForm() {
  const entry = decisions.get(current);
  for (const choice of form.elements.action) choice.checked = choice.value === (entry?.action ?? "");
  for (const field of FIELDS.slice(1)) form.elements[field].value = entry?.[field] ?? "";
  judge();
}

// Show each problem beside its field.
function judge() {
  const entry = decisions.get(current);
  const wrong = problemsAt(current);
  form.dataset.action = entry?.action ?? "";
  for (const field of FIELDS) {
    at(`${field}-problem`).textContent = wrong[field] ?? "";
    if (field !== "action") form.elements[field].setAttribute("aria-invalid", String(field in wrong));
  }
  at("undo").hidden = !isChanged(current);
}

function decide(action) {
  choose(current, { open: true });
  begin(current, action);
  fillForm();
  if (action === "accept" && rows[current].mended) {
    say("Accept applies to the image of the link itself, not to its present replacement.");
  }
  form.elements[action === "replace" ? "url" : "reason"].focus();
}

function done() {
  if (isNarrow()) setOpen(false);
  cards[current].focus();
}

form.addEventListener("input", (event) => {
  const { name, value } = event.target;
  if (!FIELDS.includes(name)) return;
  if (name === "action") {
    if (value) begin(current, value);
    else set(current, null);
    fillForm();
    return;
  }
  const entry = { ...decisions.get(current), [name]: value };
  if (name === "url" || name === "file") form.elements.sha256.value = entry.sha256 = "";
  set(current, entry);
  judge();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  done();
});

at("reason").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  done();
});

// Only the name and the hash of a local file are used.
at("pick").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  const index = current;
  if (!file) return;
  const hash = crypto.subtle ? await crypto.subtle.digest("SHA-256", await file.arrayBuffer()) : new ArrayBuffer(0);
  const sha256 = [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  set(index, { ...decisions.get(index), url: "", file: `images/${file.name}`, sha256 });
  if (index === current) fillForm();
  event.target.value = "";
  say(`Put ${file.name} into the folder images beside repairs.csv.`);
});

at("undo").addEventListener("click", () => { undo(current); done(); });
at("panel-close").addEventListener("click", () => { setOpen(false); cards[current].focus(); });

// ---- keys ----

const ACTIONS = { a: "accept", x: "exclude", r: "replace" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const { key, target } = event;
  const writes = target.matches("input:not([type=radio]), textarea, select");
  const inRows = (target === document.body || target.closest(".card")) && !cards[current].hidden;
  if (key === "Escape" && (at("panel").contains(target) || target.closest(".tools"))) done();
  else if (key === "/" && !writes) at("search").focus();
  else if (key === "?" && !writes) at("help").showModal();
  else if (!inRows) return;
  else if (/^Arrow|^Home$|^End$/.test(key)) move(key);
  else if (ACTIONS[key]) decide(ACTIONS[key]);
  else if (key === "t" && current in data.offers) take();
  else if (key === "u") undo(current);
  else if (key === "Enter") {
    choose(current, { open: true });
    at("panel-title").focus();
  } else if (key === "Escape") setOpen(false);
  else return;
  event.preventDefault();
});
at("help-open").addEventListener("click", () => at("help").showModal());

// ---- the download ----

// A cell as a reader of CSV takes it. A spreadsheet would run a text that begins like a formula, so
// a space goes before it, which the workflow strips again.
function cell(text) {
  const safe = /^[=+\-@＝＋－＠]/.test(text) ? ` ${text}` : text;
  return /[",\n]/.test(safe) || safe !== text ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csv() {
  const order = [...decisions.keys()].sort((a, b) => a - b);
  const lines = order.map((index) => [String(index), ...Object.values(lineOf(decisions.get(index)))].map(cell));
  return [columns, ...lines].map((line) => `${line.join(",")}\n`).join("");
}

at("download").addEventListener("click", () => {
  const wrong = [...decisions.keys()].sort((a, b) => a - b).filter((index) => Object.keys(problemsAt(index)).length);
  if (wrong.length) {
    at("problem-list").replaceChildren(...wrong.map((index) => {
      const item = document.createElement("li");
      const button = Object.assign(document.createElement("button"), { className: "plain", type: "button", textContent: `Row ${index}` });
      button.addEventListener("click", () => {
        at("problems").close();
        if (cards[index].hidden) show({});
        choose(index, { focus: true, open: true });
      });
      item.append(button, ` ${Object.values(problemsAt(index)).join(" ")}`);
      return item;
    }));
    at("problems").showModal();
    return;
  }
  const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href: address, download: "repairs.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
  downloaded = JSON.stringify(changes());
  const lines = plural(decisions.size, "line");
  const named = [...decisions].some(([index, { file }]) => file && isChanged(index) && file === data.offers[index]?.file);
  const pictures = named ? `, copy the folder ${data.offered}/images beside it` : "";
  say(`repairs.csv has ${lines}. Save it as the workflow's repairs.csv${pictures} and run again.`);
});

// ---- begin ----

restore();
decisions.forEach((_, index) => drawCard(index));
start.forEach((_, index) => drawCard(index));
drawCounts();
