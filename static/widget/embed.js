/* AgentLoop's feedback form on a page of yours, as a frame, a button or a link: see docs/widget.md. MIT licence.
 *
 *   <div data-agentloop-feedback="https://agentloop.example/f/…" data-show="button" data-text="Was this right?"></div>
 */
(() => {
  "use strict";
  if (window.AgentLoopFeedback) return;
  const ATTRIBUTE = "data-agentloop-feedback";
  const shown = new Map(); // the element that asked for a form -> its link, and its frame where there is one

  function make(tag, properties, style) {
    const element = Object.assign(document.createElement(tag), properties);
    Object.assign(element.style, style);
    return element;
  }

  function frameOf(host, url) {
    // By this name the form knows whom to tell its height: it does so only where the project allows it.
    const name = `agentloop ${location.origin}`;
    const title = host.dataset.title || host.dataset.text || "Feedback";
    const frame = make(
      "iframe",
      { name, src: url.href, title, loading: "lazy", referrerPolicy: "no-referrer" },
      { display: "block", width: "100%", height: "26rem", border: "0", colorScheme: "light dark" },
    );
    shown.get(host).frame = frame;
    return frame;
  }

  function buttonOf(host, url) {
    const button = make("button", { type: "button", textContent: host.dataset.text || "Was this right?" });
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => {
      const mine = shown.get(host);
      if (!mine.frame) host.append(frameOf(host, url));
      else mine.frame.hidden = !mine.frame.hidden;
      mine.frame.style.display = mine.frame.hidden ? "none" : "block";
      button.setAttribute("aria-expanded", String(!mine.frame.hidden));
    });
    return button;
  }

  function linkOf(host, url) {
    const textContent = host.dataset.text || "Was this right?";
    return make("a", { href: url.href, target: "_blank", rel: "noopener noreferrer", textContent });
  }

  const KINDS = { frame: frameOf, button: buttonOf, link: linkOf };

  function show(host) {
    const link = host.getAttribute(ATTRIBUTE);
    if (shown.get(host)?.link === link) return;
    let url;
    try {
      url = new URL(link, location.href);
    } catch {
      return;
    }
    if (!/^https?:$/.test(url.protocol)) return;
    shown.set(host, { link, origin: url.origin, frame: null });
    host.replaceChildren((KINDS[host.dataset.show] || frameOf)(host, url));
  }

  function mount(root = document) {
    for (const host of root.querySelectorAll(`[${ATTRIBUTE}]`)) show(host);
    for (const host of shown.keys()) if (!host.isConnected) shown.delete(host);
  }

  addEventListener("message", (event) => {
    if (event.data?.agentloop !== "feedback") return;
    for (const [host, { origin, frame }] of shown) {
      if (!frame || event.source !== frame.contentWindow || event.origin !== origin) continue;
      const { height, said } = event.data;
      if (height > 0 && height < 10000) frame.style.height = `${Math.ceil(height)}px`;
      if (typeof said === "string") {
        host.dispatchEvent(new CustomEvent("agentloop:feedback", { bubbles: true, detail: { rating: said } }));
      }
    }
  });

  window.AgentLoopFeedback = { mount };
  const observer = new MutationObserver(() => mount());
  observer.observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: [ATTRIBUTE] });
  mount();
})();
