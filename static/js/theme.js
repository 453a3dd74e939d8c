// The switch works without this, by loading the page anew; here it changes at once.

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-theme-switch]")) return;
  event.preventDefault();
  const chosen = event.submitter?.value ?? "";
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
  for (const button of form.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button === event.submitter));
  const said = new FormData(form);
  said.set("theme", chosen);
  fetch(form.action, { method: "POST", body: said, redirect: "manual" });
});
