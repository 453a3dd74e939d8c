// Requests as htmx sends them, for what must be quicker or more careful than a swap.

const csrf = () => JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];

const SIGNED_OUT = '<div class="notice error" data-notice><p>You are signed out. Sign in in another tab and try once more: nothing is lost here.</p></div>';

// Browsers finish a request of this size for a page that is gone.
const MOST_KEPT_ALIVE = 60_000;

export async function send(url, body, headers = {}) {
  const said = new URLSearchParams(body);
  const answer = await fetch(url, {
    method: "POST",
    body: said,
    headers: { "HX-Request": "true", "X-CSRFToken": csrf(), ...headers },
    keepalive: said.toString().length < MOST_KEPT_ALIVE,
  });
  // None of what is sent here is answered with a redirect, but by the door.
  return answer.redirected ? new Response(SIGNED_OUT, { status: 401 }) : answer;
}

export async function look(url, target) {
  const answer = await fetch(url, { headers: { "HX-Request": "true", "HX-Target": target } });
  return answer.ok ? pieces(await answer.text()) : null;
}

// A page that is being left can't wait: the browser sends this after it is gone.
export function sendLast(url, body) {
  const said = new URLSearchParams(body);
  said.set("csrfmiddlewaretoken", csrf());
  navigator.sendBeacon(url, said);
}

export function pieces(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}
