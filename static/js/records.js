// A list of records by keyboard: j and k go from one to the next; the keys on a record are of the one that has the focus.

import { command } from "./keys.js";
import { announce } from "./live.js";

const rows = () => [...document.querySelectorAll("[data-row]")];

function step(direction) {
  const all = rows();
  const here = all.findIndex((row) => row.contains(document.activeElement));
  const there = all[here < 0 ? 0 : here + direction];
  if (!there) return announce(direction > 0 ? "That is the end of the list." : "That is the beginning of the list.");
  there.querySelector("a, summary, button").focus();
  there.scrollIntoView({ block: "nearest" });
}

command("next-row", "j", "Next in the list", () => step(1));
command("previous-row", "k", "Previous in the list", () => step(-1));
command("undo", "u", "Undo the latest act", () => {
  const latest = [...document.querySelectorAll("[data-undo] button")].at(-1);
  if (latest) latest.click();
  else announce("Nothing to undo.");
});

// Back from a record's own page, the keys go on where they were. The browser takes the focus away as it comes there.
window.addEventListener("load", () => document.getElementById(location.hash.slice(1))?.querySelector("a, summary")?.focus());
