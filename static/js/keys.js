// Keys. A control says its key itself: data-key="s" (or "g q", or "Mod+Enter"), data-act for its name, data-label for
// the list behind `?`. Pressing the key clicks the control, or puts the cursor into it. What has no control of its
// own is added with `command`. In a list, the keys on a row ([data-row]) are of the one that has the focus. Keys rest while one types, while a dialog is open and until the page has loaded.

const STORE = "agentloop.keys";
const PREFIX_MS = 1_200;
const commands = new Map();
let chosen = read();
let prefix = "";
let prefixTimer = 0;

function read() {
  try { return JSON.parse(localStorage.getItem(STORE)) ?? {}; } catch { return {}; }
}

export function command(act, key, label, run) {
  commands.set(act, { act, key, label, run });
}

function controls({ inEveryRow = true } = {}) {
  const found = new Map(commands);
  for (const element of document.querySelectorAll("[data-key]")) {
    const act = element.dataset.act ?? element.dataset.key;
    // The last one on the page wins: the newest notice holds the act to undo.
    if (element.closest("dialog:not([open]), [hidden]")) continue;
    const row = inEveryRow ? null : element.closest("[data-row]");
    if (row && !row.contains(document.activeElement)) continue;
    found.set(act, { act, key: element.dataset.key, label: element.dataset.label ?? element.textContent.trim(), run: () => press(element) });
  }
  return [...found.values()].map((one) => ({ ...one, key: chosen[one.act] ?? one.key }));
}

function press(element) {
  if (element.matches("textarea, select, input:not([type=radio], [type=checkbox], [type=submit], [type=button])")) {
    element.focus();
    element.select?.();
  } else {
    if (element.matches("input, summary")) element.focus();
    element.click();
  }
}

// A Cyrillic or Greek layout types another letter with the same key: then the key's place decides.
function nameOf(event) {
  const typed = event.key.length === 1 && event.key > "~" && /^Key[A-Z]$/.test(event.code) ? event.code.slice(3).toLowerCase() : event.key;
  const name = typed.length === 1 ? typed.toLowerCase() : typed;
  return (event.ctrlKey || event.metaKey ? "Mod+" : "") + name;
}

export function isTyping(target) {
  return target.matches?.("textarea, select, input:not([type=radio], [type=checkbox], [type=submit], [type=button]), [contenteditable]");
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || event.altKey) return;
  if (recording) return record(event);
  const name = nameOf(event);
  if (["Shift", "Mod+Control", "Mod+Meta", "Control", "Meta"].includes(name)) return;
  if (isTyping(event.target) && !name.startsWith("Mod+")) {
    if (name === "Escape") event.target.blur();
    return;
  }
  // Return presses what has the focus.
  if (name === "Enter" && event.target.closest?.("a, button, summary, input, label")) return;
  if (document.readyState !== "complete" || document.querySelector("dialog[open]")) return;
  const whole = prefix ? `${prefix} ${name}` : name;
  const all = controls({ inEveryRow: false });
  const found = all.find((one) => one.key === whole) ?? (prefix ? undefined : all.find((one) => one.key === name));
  clearTimeout(prefixTimer);
  prefix = "";
  if (found) {
    event.preventDefault();
    if (!event.repeat) found.run();
  } else if (all.some((one) => one.key.startsWith(`${name} `))) {
    prefix = name;
    prefixTimer = setTimeout(() => { prefix = ""; }, PREFIX_MS);
  }
});

// --- the list behind `?`, where each can be changed ---

let recording = null;
const dialog = document.getElementById("keys");
const shownKey = (key) => key.split(" ").map((part) => part.replace("Mod+", navigator.platform.startsWith("Mac") ? "⌘" : "Ctrl+").replace("Enter", "↵"));

function fill() {
  const list = document.getElementById("key-list");
  list.replaceChildren(...controls().map((one) => {
    const row = document.createElement("div");
    const name = document.createElement("dt");
    name.textContent = one.label;
    const value = document.createElement("dd");
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `${one.label}: ${shownKey(one.key).join(" ")}. Change`);
    button.append(...shownKey(one.key).flatMap((part) => [Object.assign(document.createElement("kbd"), { textContent: part }), " "]));
    button.addEventListener("click", () => {
      recording = { act: one.act, button };
      button.setAttribute("aria-pressed", "true");
    });
    value.append(button);
    row.append(name, value);
    return row;
  }));
}

function record(event) {
  if (["Shift", "Control", "Meta"].includes(event.key)) return;
  event.preventDefault();
  event.stopPropagation();
  const { act } = recording;
  recording = null;
  if (event.key !== "Escape") {
    const key = nameOf(event);
    const other = controls().find((one) => one.key === key && one.act !== act);
    // The two change places, so that no act is left without a key.
    if (other) chosen[other.act] = controls().find((one) => one.act === act).key;
    chosen[act] = key;
    localStorage.setItem(STORE, JSON.stringify(chosen));
  }
  fill();
  showOnControls(document);
}

// The keys that stand on controls follow what was chosen.
export function showOnControls(root) {
  for (const element of root.querySelectorAll("[data-key][data-act]")) {
    const key = chosen[element.dataset.act] ?? element.dataset.key;
    const shown = element.querySelector("kbd") ?? element.parentElement?.querySelector(`:scope > kbd`);
    if (shown && shown.dataset.fixed === undefined) shown.textContent = shownKey(key).join(" ");
    element.setAttribute("aria-keyshortcuts", key.replace("Mod+", "Control+"));
  }
}

if (dialog) {
  command("help", "?", "Show all keys", () => { fill(); dialog.showModal(); });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-act=help]")) { fill(); dialog.showModal(); }
  });
  dialog.addEventListener("close", () => { recording = null; });
  dialog.addEventListener("cancel", (event) => { if (recording) event.preventDefault(); });
  document.getElementById("keys-reset").addEventListener("click", () => {
    chosen = {};
    localStorage.removeItem(STORE);
    fill();
    showOnControls(document);
  });
  showOnControls(document);
  document.addEventListener("htmx:afterSettle", (event) => showOnControls(event.target));
}
