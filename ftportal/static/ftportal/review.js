// Keys of the voting page. Everything they do is also a control that a mouse or a finger reaches.
"use strict";

(() => {
  const form = document.querySelector("form[data-vote]");
  if (!form) return;
  const hint = form.querySelector("[data-vote-hint]");
  const dialog = document.querySelector("[data-keys-dialog]");
  const draftName = `draft:${location.pathname}:${form.elements.position.value}`;

  const prefer = (value) => {
    const choice = form.querySelector(`input[name="preference"][value="${value}"]`);
    choice.checked = true;
    choice.focus({ preventScroll: true });
    hint.hidden = true;
    draftKeep();
  };

  const defect = (side) => {
    const box = form.querySelector(`[data-defect="${side}"]`);
    box.checked = !box.checked;
    box.dispatchEvent(new Event("change", { bubbles: true }));
  };

  const keysToggle = () => {
    if (dialog.open) dialog.close();
    else dialog.showModal();
  };

  // What is not submitted yet survives a reload of this tab, and nothing else sees it.
  const draftKeep = () => {
    const kept = [...new FormData(form)].filter(([name]) => !name.startsWith("csrf"));
    sessionStorage.setItem(draftName, JSON.stringify(kept));
  };

  const draftRestore = () => {
    const kept = JSON.parse(sessionStorage.getItem(draftName) || "[]");
    for (const [name, value] of kept) {
      for (const field of form.querySelectorAll(`[name="${name}"]`)) {
        if (field.type === "radio") field.checked = field.value === value;
        else if (field.type === "checkbox") field.checked = true;
        else if (field.type === "text") field.value = value;
      }
    }
  };

  const actions = {
    ArrowLeft: () => prefer("left"),
    ArrowRight: () => prefer("right"),
    "=": () => prefer("tie"),
    t: () => prefer("tie"),
    b: () => prefer("both_bad"),
    1: () => defect("left"),
    2: () => defect("right"),
    "?": keysToggle,
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches('input[type="text"], textarea, select');
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (dialog.open && event.key !== "?") return;
    if (event.key === "Enter") {
      // Buttons, links and summaries keep their own Enter.
      if (event.target.closest("button, a, summary")) return;
      event.preventDefault();
      form.requestSubmit();
      return;
    }
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  });

  form.addEventListener("change", (event) => {
    const side = event.target.dataset.defect;
    if (side) {
      const reason = form.elements[`${side}_reason`];
      reason.required = event.target.checked;
      if (event.target.checked) reason.focus();
    }
    if (event.target.name === "preference") hint.hidden = true;
    draftKeep();
  });
  form.addEventListener("input", draftKeep);
  form.addEventListener("invalid", (event) => {
    if (event.target.name === "preference") {
      event.preventDefault();
      hint.hidden = false;
    }
  }, true);
  form.addEventListener("submit", () => sessionStorage.removeItem(draftName));
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-keys]")) keysToggle();
  });

  if (!form.querySelector(".error-text:not([hidden])")) draftRestore();
  for (const box of form.querySelectorAll("[data-defect]")) {
    form.elements[`${box.dataset.defect}_reason`].required = box.checked;
  }
})();
