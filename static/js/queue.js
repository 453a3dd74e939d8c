// The reviewers' desk. Without this module each act loads a page; with it the next turn is claimed and rendered
// beforehand, and stands there the moment one has judged.

import { claim, formOf, keepAlive, release, tokenOf } from "./claims.js";
import { keep, settled, wrote } from "./drafts.js";
import { command, showOnControls } from "./keys.js";
import { announce, notify } from "./live.js";
import { look, pieces, send } from "./requests.js";
import { showTimes } from "./times.js";
import { drawDiff, isChanged } from "./verdict_form.js";

const PREFETCH_AFTER_MS = 150;
const REFRESH_MS = 20_000;
// Each project has its own acts.
const UNDO = `agentloop.undo.${location.pathname.split("/")[2]}`;
let next = null;
let fetching = null;
let prefetchTimer = 0;

const desk = () => document.getElementById("work");
const list = () => document.getElementById("list");
const rowOf = (turn) => document.getElementById(`row-${turn?.replace("turn_", "")}`);

// --- the turn that is on the desk ---

function show(work, { push = true } = {}) {
  desk().replaceWith(work);
  window.htmx?.process(work);
  if (push) history.pushState({ htmx: true }, "", work.dataset.url);
  document.title = work.dataset.title;
  enter(work);
  const turn = work.querySelector(".turn-pane");
  turn?.focus({ preventScroll: true });
  window.scrollTo(0, 0);
  announce(work.dataset.turn ? `Next turn: ${work.querySelector(".question .text")?.textContent.trim().slice(0, 160)}` : "Nothing is left here.");
}

function enter(work) {
  delete work.dataset.waiting;
  showTimes(work);
  showOnControls(work);
  document.getElementById("content").classList.toggle("has-turn", Boolean(work.dataset.turn));
  markRow(work.dataset.turn);
  if (next?.dataset.turn === work.dataset.turn) next = null;
  const form = formOf(work);
  if (!form) return;
  if (form.elements.correction && isChanged(form)) drawDiff(form);
  if (tokenOf(work)) prefetchSoon();
  else claim(work, (notices) => refused(work, notices)).then((isOurs) => isOurs && prefetchSoon()).catch(() => {});
}

function markRow(turn) {
  for (const link of document.querySelectorAll("#rows a[aria-current]")) link.removeAttribute("aria-current");
  const link = rowOf(turn)?.querySelector("a");
  link?.setAttribute("aria-current", "true");
  link?.scrollIntoView({ block: "nearest" });
}

async function refused(work, notices) {
  document.getElementById("notices").append(notices);
  const fresh = await look(work.dataset.url, "work");
  const shown = fresh?.querySelector("#work");
  if (shown && work.isConnected) {
    work.replaceWith(shown);
    window.htmx?.process(shown);
    showTimes(shown);
    showOnControls(shown);
  }
}

function leave(work, { leaving = false } = {}) {
  const form = formOf(work);
  if (form && work.dataset.acted === undefined) keep(form, { leaving });
  release(work, { leaving });
}

// --- the next turn, before it is asked for ---

function prefetchSoon() {
  clearTimeout(prefetchTimer);
  prefetchTimer = setTimeout(prefetch, PREFETCH_AFTER_MS);
}

function prefetch() {
  // An act that is under way without a next turn brings one along; two at once would come in any order.
  if (next || fetching || document.hidden || desk().getAttribute("aria-busy") === "true") return;
  fetching = send(list().dataset.nextUrl, {}).then(async (answer) => {
    const work = answer.ok ? pieces(await answer.text()).querySelector("#work") : null;
    if (work?.dataset.turn) {
      work.dataset.waiting = "";
      next = work;
    }
  }).catch(() => {}).finally(() => { fetching = null; });
}

// What was claimed beforehand, unless that claim has lapsed since.
function takeNext() {
  const work = next;
  next = null;
  return work && tokenOf(work) ? work : null;
}

async function start() {
  await fetching;
  const old = desk();
  const work = takeNext();
  if (work) {
    show(work);
    leave(old);
    return;
  }
  old.setAttribute("aria-busy", "true");
  const answer = await send(list().dataset.nextUrl, {});
  old.removeAttribute("aria-busy");
  const found = pieces(await answer.text());
  if (!answer.ok) return document.getElementById("notices").append(found);
  show(found.querySelector("#work"));
  leave(old);
}

// --- acts ---

async function act(form, submitter) {
  const work = form.closest("#work");
  if (work.dataset.acted !== undefined) return;
  const stroke = submitter?.value;
  const isVerdict = !submitter?.hasAttribute("formaction");
  if (isVerdict && !isReady(form, submitter?.name === "stroke" ? stroke : "")) return;
  // The list may have been filtered anew since the turn was opened.
  const url = (isVerdict ? form.action : submitter.formAction).split("?")[0] + list().dataset.query;
  const body = new FormData(form, submitter);
  work.dataset.acted = "";
  // A next turn that is being claimed just now is the one that comes next.
  clearTimeout(prefetchTimer);
  await Promise.all([settled(form), fetching]);
  const shown = takeNext();
  if (shown) show(shown);
  else work.setAttribute("aria-busy", "true");
  const answer = await send(url, body, shown ? { "X-Has-Next": "true" } : {}).catch(() => null);
  work.removeAttribute("aria-busy");
  if (!answer?.ok) return await failed(work, shown, answer);
  const said = pieces(await answer.text());
  const after = said.querySelector("#work");
  tell(said);
  gone(work.dataset.turn);
  if (after) show(after);
  else prefetchSoon();
}

// Says what is missing before anything is sent.
function isReady(form, stroke) {
  if (stroke === "accept" || stroke === "reject") return true;
  if (isChanged(form)) return true;
  if (stroke === "fix") {
    form.querySelector("#editor").open = true;
    form.elements.correction.focus();
    return false;
  }
  if (form.elements.rating.value) return true;
  announce("Choose a rating first.");
  notify("Choose a rating first: 1, 2 or 3.", "warning");
  form.querySelector("[name=rating]").focus();
  return false;
}

// A lost claim's text was kept by the server; anything else brings the turn back as it was, with what was written.
async function failed(work, shown, answer) {
  if (answer) tell(pieces(await answer.text()));
  else notify("The server cannot be reached. Nothing is lost: try once more.", "error");
  delete work.dataset.acted;
  if (answer?.status === 409) {
    if (!shown) return refused(work, "");
    const open = Object.assign(document.createElement("a"), { href: work.dataset.url, textContent: "Open it" });
    document.querySelector("#notices [data-notice]:last-child p").append(" ", open);
    return prefetchSoon();
  }
  if (shown && desk() === shown) {
    shown.dataset.waiting = "";
    if (next) release(next);
    next = shown;
    show(work);
  }
}

function tell(said) {
  for (const notice of said.querySelectorAll("[data-notice]")) {
    const undo = notice.querySelector("[data-undo]");
    if (undo) remember(undo.getAttribute("action"));
    document.getElementById("notices").append(notice);
    if (notice.dataset.open) open(notice.dataset.open);
  }
}

function gone(turn) {
  const row = rowOf(turn);
  if (!row) return;
  row.remove();
  const count = document.getElementById("count");
  const number = Number(count.textContent.replace(/\D/g, ""));
  if (number && !count.textContent.includes("+")) count.textContent = (number - 1).toLocaleString("en");
}

// --- undo: the acts of this visit, the latest first ---

const acts = () => JSON.parse(sessionStorage.getItem(UNDO) ?? "[]");
const remember = (url) => sessionStorage.setItem(UNDO, JSON.stringify([...acts(), url].slice(-50)));

async function undo(url) {
  sessionStorage.setItem(UNDO, JSON.stringify(acts().filter((one) => one !== url)));
  for (const form of document.querySelectorAll("[data-undo]")) if (form.getAttribute("action") === url) form.closest("[data-notice]").remove();
  const answer = await send(url + (list()?.dataset.query ?? ""), {}).catch(() => null);
  if (!answer) {
    remember(url);
    notify("The server cannot be reached. Try once more.", "error");
  } else tell(pieces(await answer.text()));
}

async function open(url) {
  const found = await look(url, "work");
  const work = found?.querySelector("#work");
  if (!work) return;
  const old = desk();
  show(work);
  leave(old);
  refreshList();
}

// --- the list ---

async function refreshList() {
  const rows = document.getElementById("rows");
  if (!rows || document.hidden || rows.querySelector(":checked") || rows.contains(document.activeElement) || rows.dataset.grown) return;
  const fresh = await look(location.pathname.replace(/turns\/.*/, "") + list().dataset.query, "list");
  if (!fresh || document.getElementById("rows") !== rows) return;
  rows.replaceChildren(...fresh.querySelector("#rows").childNodes);
  document.getElementById("count").textContent = fresh.querySelector("#count").textContent;
  window.htmx?.process(rows);
  showTimes(rows);
  markRow(desk().dataset.turn);
}

function step(direction) {
  const links = [...document.querySelectorAll("#rows .row > a")];
  const here = links.findIndex((link) => link.hasAttribute("aria-current"));
  const there = links[here < 0 ? 0 : here + direction];
  if (!there) return announce(direction > 0 ? "That is the end of the list." : "That is the beginning of the list.");
  there.click();
}

function select() {
  const row = document.querySelector("#rows .row:has(> a[aria-current])") ?? document.querySelector("#rows .row");
  const box = row?.querySelector("input");
  if (box) {
    box.checked = !box.checked;
    box.dispatchEvent(new Event("change", { bubbles: true }));
  }
}

// --- what happens on the page ---

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-start]")) {
    event.preventDefault();
    start();
  } else if (form.matches("[data-undo]")) {
    event.preventDefault();
    undo(form.getAttribute("action"));
  } else if (form.id === "verdict" && !event.submitter?.hasAttribute("data-leave")) {
    event.preventDefault();
    if (event.submitter?.formAction.split("?")[0].endsWith("/claim/")) claim(form.closest("#work"), (notices) => refused(form.closest("#work"), notices));
    else act(form, event.submitter);
  }
});

document.addEventListener("input", (event) => {
  const form = event.target.closest("#verdict");
  if (form && event.target.name !== "snooze_for") wrote(form);
});

document.addEventListener("change", (event) => {
  if (!event.target.closest(".row, #bulk")) return;
  const chosen = document.querySelectorAll("#rows .row > input:checked").length;
  document.getElementById("selected").textContent = `${chosen} selected`;
});

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id === "work" && event.detail.shouldSwap) leave(event.detail.target);
  if (event.detail.target.id === "more") document.getElementById("rows").dataset.grown = "true";
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "list") {
    // What was claimed beforehand is of the list before.
    if (next) release(next);
    next = null;
    markRow(desk().dataset.turn);
    if (tokenOf(desk())) prefetchSoon();
  }
  if (event.detail.target.id !== "work") return;
  const work = desk();
  document.title = work.dataset.title;
  enter(work);
});

window.addEventListener("pagehide", () => {
  leave(desk(), { leaving: true });
  if (next) release(next, { leaving: true });
});
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

command("next-row", "j", "Next in the list", () => step(1));
command("previous-row", "k", "Previous in the list", () => step(-1));
command("select", "x", "Select for a bulk act", select);
command("undo", "u", "Undo the latest act", () => {
  const latest = acts().at(-1);
  if (latest) undo(latest);
  else announce("Nothing to undo.");
});

// Several filters are often set one after another, each of which loads the page.
const OPEN_FILTERS = "agentloop.filters";
if (sessionStorage.getItem(OPEN_FILTERS)) document.getElementById("filters").open = true;
document.addEventListener("toggle", (event) => {
  if (event.target.id !== "filters") return;
  if (event.target.open) sessionStorage.setItem(OPEN_FILTERS, "true");
  else sessionStorage.removeItem(OPEN_FILTERS);
}, true);

keepAlive(() => [desk(), next]);
setInterval(refreshList, REFRESH_MS);
for (const form of document.querySelectorAll("[data-undo]")) remember(form.getAttribute("action"));
enter(desk());
