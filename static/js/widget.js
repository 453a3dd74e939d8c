// The feedback form as it would look, anew with what is typed. Without this, the Preview button does the same.

const form = document.getElementById("look");
const stage = form.querySelector("[data-stage]");
const show = form.querySelector("[data-show]");
let number = 0;

// A new frame is filled behind the one in view: nothing flickers, and the way back stays as short as it was.
function refresh() {
  const next = stage.querySelector("iframe").cloneNode();
  next.removeAttribute("src");
  next.name = `look-frame-${++number}`;
  next.classList.add("coming");
  next.setAttribute("aria-hidden", "true");
  next.tabIndex = -1;
  stage.append(next);
  show.formTarget = next.name;
  form.requestSubmit(show);
  next.addEventListener("load", () => {
    if (next.name !== `look-frame-${number}`) return next.remove();
    for (const old of stage.querySelectorAll("iframe")) if (old !== next) old.remove();
    next.classList.remove("coming");
    next.removeAttribute("aria-hidden");
    next.removeAttribute("tabindex");
  });
}

// What is asked about the values comes first, after a pause in typing: the preview follows it.
form.addEventListener("htmx:beforeRequest", (event) => { if (event.target === form) refresh(); });

for (const picker of form.querySelectorAll("[data-colour-of]")) {
  const field = document.getElementById(picker.dataset.colourOf);
  picker.addEventListener("input", () => { field.value = picker.value; });
  field.addEventListener("input", () => { if (/^#[0-9a-f]{6}$/i.test(field.value)) picker.value = field.value; });
}

// Whoever words another language sees the form in it.
form.addEventListener("change", (event) => {
  if (event.target.name === "words_wanted" && event.target.value !== "*") form.elements.language.value = event.target.value;
});
