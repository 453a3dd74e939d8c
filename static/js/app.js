// Loaded on every page for members: menus, notices, theme, times, keys. A page's own module stands beside this one.

import "./keys.js";
import { announce } from "./live.js";
import { showTimes } from "./times.js";
import "./theme.js";

document.documentElement.dataset.scripts = "";
const KEEP_NOTICE_MS = 12_000;
const MOST_NOTICES = 3;
const ANNOUNCE_AFTER_MS = 300;

document.addEventListener("click", (event) => {
  const close = event.target.closest("[data-close]");
  if (close) (close.closest("[data-notice]") ?? close.closest("dialog"))?.[close.closest("[data-notice]") ? "remove" : "close"]();
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
  }
});

// A notice goes by itself, but not while somebody points at it or has the focus in it.
function letGo(notice) {
  setTimeout(() => {
    if (notice.matches(":hover, :focus-within")) letGo(notice);
    else notice.remove();
  }, KEEP_NOTICE_MS);
}

const notices = document.getElementById("notices");
if (notices) {
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) for (const node of addedNodes) if (node.nodeType === 1 && !node.matches(".error")) letGo(node);
    const shown = notices.querySelectorAll("[data-notice]");
    for (const old of [...shown].slice(0, Math.max(0, shown.length - MOST_NOTICES))) old.remove();
  }).observe(notices, { childList: true });
  for (const notice of notices.querySelectorAll("[data-notice]:not(.error)")) letGo(notice);
  // Screen readers tell what changes in a live region, not what came with the page.
  const told = [...notices.querySelectorAll("[data-notice] > p")].map((line) => line.textContent.trim()).join(" ");
  if (told) setTimeout(() => announce(told), ANNOUNCE_AFTER_MS);
}

showTimes(document);
document.addEventListener("htmx:afterSettle", (event) => showTimes(event.target));
setInterval(() => showTimes(document), 30_000);
