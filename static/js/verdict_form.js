// The verdict's form, wherever it stands: the correction with what it changes, and tags that complete themselves.

import { showDiff } from "./diff.js";

export const isChanged = (form) => {
  const editor = form.elements.correction;
  return editor.value.trim() !== editor.dataset.original.replace(/\r\n/g, "\n").trim();
};

export const drawDiff = (form) => showDiff(form.elements.correction, form.querySelector("#diff"));

document.addEventListener("input", (event) => {
  const form = event.target.closest("#verdict");
  if (!form) return;
  if (event.target.name === "correction") drawDiff(form);
  if (event.target.name === "tags") complete(event.target);
});

// Completion goes on after a comma: each suggestion begins with the tags that stand already.
function complete(input) {
  const known = input.parentElement.querySelector("datalist");
  known.all ??= [...known.options].map((option) => option.value);
  const before = input.value.includes(",") ? `${input.value.slice(0, input.value.lastIndexOf(",") + 1)} ` : "";
  known.replaceChildren(...known.all.map((tag) => Object.assign(document.createElement("option"), { value: before + tag })));
}

// The next key is typed into the editor already, so the cursor must be there before the browser gets to opening it.
document.addEventListener("click", (event) => {
  const editor = event.target.closest("#editor > summary")?.parentElement;
  if (!editor || editor.open) return;
  event.preventDefault();
  editor.open = true;
  editor.querySelector("textarea").focus();
});

const form = document.getElementById("verdict");
if (form && isChanged(form)) drawDiff(form);
