// Beside allauth's own script: says in words why a passkey did not work, and shows what needs a script.

const SENTENCES = {
  NotAllowedError: "It was cancelled, or no passkey fits. Try again.",
  InvalidStateError: "This passkey is registered already.",
  SecurityError: "Passkeys need https, or localhost: this address can't use them.",
};

document.documentElement.dataset.scripts = "";

document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  const problem = document.getElementById("passkey-problem");
  const { exception } = event.detail;
  const sentence = window.PublicKeyCredential ? SENTENCES[exception?.name] : SENTENCES.SecurityError;
  problem.textContent = sentence ?? "The passkey did not work. Try again.";
  problem.hidden = false;
});
