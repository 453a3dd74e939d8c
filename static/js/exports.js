// Downloads in view: how much has come, and a way to stop. The links work without this too, as plain downloads.

import { announce, notify } from "./live.js";

// What has come is handed to the browser in pieces, which keeps it out of the page's own memory.
const PIECE_BYTES = 8 * 1024 * 1024;
const running = new Map();
const sizes = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat();
const inWords = (bytes) => (bytes < 1e6 ? `${sizes.format(bytes / 1e3)} kB` : `${sizes.format(bytes / 1e6)} MB`);

// Lines are rows in these; Parquet says only how long it is.
const lines = { jsonl: 0, csv: -1 };
const newline = 10;

function linesIn(chunk) {
  let count = 0;
  for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, at + 1)) count += 1;
  return count;
}

function nameOf(response) {
  return /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? "export";
}

async function read(response, tell) {
  const reader = response.body.getReader();
  let [blob, parts, held, bytes, rows] = [new Blob(), [], 0, 0, 0];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob([blob, ...parts], { type: response.headers.get("Content-Type") });
    parts.push(value);
    held += value.length;
    bytes += value.length;
    rows += linesIn(value);
    if (held > PIECE_BYTES) [blob, parts, held] = [new Blob([blob, ...parts]), [], 0];
    tell(bytes, rows);
  }
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function start(link) {
  const box = link.closest(".file").querySelector(".file-progress");
  const bar = box.querySelector("progress");
  const line = box.querySelector("[role=status]");
  const { export: form, rows: total } = link.dataset;
  const stop = new AbortController();
  running.set(box, stop);
  box.hidden = false;
  bar.removeAttribute("value");
  line.textContent = "Starting";
  try {
    const response = await fetch(link.href, { signal: stop.signal });
    if (!response.ok) throw new Error((await response.json()).error);
    const blob = await read(response, (bytes, count) => {
      const rows = form in lines ? Math.max(0, count + lines[form]) : null;
      line.textContent = rows === null ? inWords(bytes) : `${whole.format(rows)} rows, ${inWords(bytes)}`;
      if (rows !== null && Number(total)) Object.assign(bar, { max: Number(total), value: Math.min(rows, Number(total)) });
    });
    bar.max = bar.value = 1;
    line.textContent = `Done: ${inWords(blob.size)}`;
    save(blob, nameOf(response));
    announce("The download is complete.");
  } catch (error) {
    box.hidden = true;
    if (error.name !== "AbortError") notify(`The download broke off. ${error.message}`, "error");
  } finally {
    running.delete(box);
  }
}

document.addEventListener("click", (event) => {
  const cancel = event.target.closest("[data-cancel]");
  if (cancel) {
    const box = cancel.closest(".file-progress");
    running.get(box)?.abort();
    box.hidden = true;
  }
  const link = event.target.closest("[data-export]");
  // With a key held one wants the browser's own way.
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (!running.has(link.closest(".file").querySelector(".file-progress"))) start(link);
});
