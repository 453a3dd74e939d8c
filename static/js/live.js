// Says aloud what changed without the focus moving there.

export function announce(text) {
  const live = document.getElementById("live");
  if (!live) return;
  live.textContent = "";
  requestAnimationFrame(() => { live.textContent = text; });
}

// A line at the bottom of the page, as templates/agentloop/_notice.html makes them.
export function notify(text, kind = "info") {
  const notice = document.createElement("div");
  notice.className = `notice ${kind}`;
  notice.dataset.notice = "";
  const line = document.createElement("p");
  line.textContent = text;
  const close = document.createElement("button");
  Object.assign(close, { className: "icon-button", type: "button", textContent: "×" });
  close.setAttribute("aria-label", "Close");
  close.dataset.close = "";
  notice.append(line, close);
  document.getElementById("notices").append(notice);
}
