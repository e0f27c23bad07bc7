// Gives the prompt on this page back when the page is left, so that nobody waits for it.
"use strict";

(() => {
  const form = document.querySelector("form[data-leave]");
  if (!form) return;
  addEventListener("pagehide", () => navigator.sendBeacon(form.action, new FormData(form)));
})();
