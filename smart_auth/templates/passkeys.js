// Makes and uses passkeys for the pages that have a button for it (WebAuthn Level 2 §5.1).
// The button names where its options come from and what it does; the answer goes into the form's field `credential`.
"use strict";
(() => {
  const button = document.querySelector("button[data-passkey]");
  if (!button) return;
  const status = document.getElementById("passkey-status");
  const form = button.form;

  const bytes = (text) =>
    Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

  const options = async () => {
    const body = new URLSearchParams({ form_token: form.elements.form_token.value });
    const answer = await fetch(button.dataset.options, { method: "POST", body });
    if (!answer.ok) throw new Error((await answer.json()).error_description || "Try again later.");
    const given = await answer.json();
    given.challenge = bytes(given.challenge);
    if (given.user) given.user.id = bytes(given.user.id);
    for (const name of ["allowCredentials", "excludeCredentials"])
      given[name] = (given[name] || []).map((known) => ({ ...known, id: bytes(known.id) }));
    return { publicKey: given };
  };

  const told = (credential) => {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"])
      if (credential.response[name]) response[name] = text(credential.response[name]);
    return JSON.stringify({ id: credential.id, rawId: text(credential.rawId), type: credential.type, response });
  };

  const words = (error) => ({
    NotAllowedError: "No passkey was used. Try again, or go on without.",
    AbortError: "No passkey was used. Try again, or go on without.",
    InvalidStateError: "This device has a passkey for you already.",
    Error: error.message, // the server's
  })[error.name] || "That did not work. Try again later.";

  button.addEventListener("click", async (event) => {
    event.preventDefault(); // by Enter in a field too
    button.disabled = true;
    status.textContent = "Follow what your browser asks.";
    try {
      const credential = await navigator.credentials[button.dataset.passkey](await options());
      form.elements.credential.value = told(credential);
      HTMLFormElement.prototype.submit.call(form);
    } catch (error) {
      status.textContent = words(error);
      button.disabled = false;
      if (document.activeElement === document.body) button.focus(); // it lost that by being disabled
    }
  });
  const shown = window.PublicKeyCredential ? "[data-with-passkeys]" : "[data-without-passkeys]";
  for (const each of document.querySelectorAll(shown)) each.hidden = false;
})();
