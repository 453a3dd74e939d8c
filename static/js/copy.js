// Copies what an element says. Without a secure address the browser has no clipboard for pages: then it is selected.

import { announce } from "./live.js";

const TOLD_MS = 2_000;

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent.trim());
    return true;
  } catch {
    select(element);
    return document.execCommand("copy");
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const before = button.textContent;
  const text = (await copy(document.getElementById(button.dataset.copy))) ? "Copied" : "Selected: press Ctrl+C";
  button.textContent = text;
  announce(text);
  setTimeout(() => { button.textContent = before; }, TOLD_MS);
});
