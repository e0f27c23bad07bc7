// Keys of the judging page. Everything they do is also a control that a mouse or a finger reaches.
"use strict";

(() => {
  const dialog = document.querySelector("[data-keys-dialog]");
  if (!dialog) return;
  const form = document.querySelector("form[data-vote]");
  const hint = document.querySelector("[data-vote-hint]");

  // Browser Back may bring a page as it was left; what counts is how things stand now.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  const press = (selector) => document.querySelector(selector)?.click();
  const keysToggle = () => {
    if (dialog.open) dialog.close();
    else dialog.showModal();
  };

  // --- what is not submitted yet survives a reload of this tab, and nothing else sees it ---------

  const draftName = form && `draft:${location.pathname}:${form.elements.change ? "change" : "new"}`;
  const draftKeep = () => {
    const kept = [...new FormData(form)].filter(([name]) => !/^(csrf|seen|show|change)/.test(name));
    sessionStorage.setItem(draftName, JSON.stringify(kept));
  };
  const draftRestore = () => {
    const draft = sessionStorage.getItem(draftName);
    if (!draft) return;
    for (const box of form.querySelectorAll('input[type="checkbox"]')) box.checked = false;
    for (const [name, value] of JSON.parse(draft)) {
      for (const field of form.querySelectorAll(`[name="${name}"]`)) {
        if (field.type === "radio") field.checked = field.value === value;
        else if (field.type === "checkbox") field.checked = true;
        else field.value = value;
      }
    }
    const { note, corrected_answer: corrected } = form.elements;
    if (note.value || corrected.value) besideOpen();
  };

  // --- the form -----------------------------------------------------------------------------------

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
  const defectRequire = (box) => {
    for (const of of ["category", "reason"]) {
      form.elements[`${box.dataset.defect}_${of}`].required = box.checked;
    }
  };
  const besideOpen = () => { form.querySelector("[data-beside]").open = true; };
  const write = (id) => {
    besideOpen();
    document.getElementById(id).focus();
  };
  const begin = async (url) => {
    const field = document.getElementById("corrected");
    if (field.value.trim() && !confirm("Replace what is written there?")) return;
    const answer = await fetch(url, { credentials: "same-origin" });
    if (!answer.ok) return;
    field.value = await answer.text();
    field.focus();
    draftKeep();
  };

  if (form) {
    form.addEventListener("change", (event) => {
      if (event.target.dataset.defect) {
        defectRequire(event.target);
        if (event.target.checked) form.elements[`${event.target.dataset.defect}_category`].focus();
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
    form.addEventListener("submit", (event) => {
      // A second press, before the answer has come, is not a second vote.
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "yes";
      // What was typed waits for the one who skips to return.
      if (!event.submitter?.matches("[data-skip]")) sessionStorage.removeItem(draftName);
    });
    if (!form.querySelector(".error-text:not([hidden])")) draftRestore();
    form.querySelectorAll("[data-defect]").forEach(defectRequire);
  }

  // --- reasoning: both sides in the same manner ---------------------------------------------------

  const reasonings = () => [...document.querySelectorAll("#answers details[data-reasoning]")];
  const reasoningsToggle = () => {
    const open = !reasonings()[0]?.open;
    for (const one of reasonings()) one.open = open;
  };
  document.addEventListener("toggle", (event) => {
    if (!event.target.matches("#answers details[data-reasoning]")) return;
    for (const one of reasonings()) one.open = event.target.open;
    document.querySelector("#answers [data-reasonings]")
      ?.setAttribute("aria-expanded", String(event.target.open));
  }, true);

  // --- how the answers are shown: while they are exchanged their buttons are dead, so a key waits ---

  let exchanging = false;
  let waiting = null;
  const ofAnswers = (event) => event.detail.target?.id === "answers";
  const show = (name) => {
    const selector = `#answers [data-show="${name}"]`;
    if (exchanging) waiting = selector;
    else press(selector);
  };
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (ofAnswers(event)) exchanging = true;
  });
  for (const end of ["afterSettle", "responseError", "sendError", "swapError", "timeout"]) {
    document.addEventListener(`htmx:${end}`, (event) => {
      if (!ofAnswers(event)) return;
      exchanging = false;
      const next = waiting;
      waiting = null;
      if (next) press(next);
    });
  }

  // --- keys ---------------------------------------------------------------------------------------

  const reading = {
    f: () => press("#answers .reading-bar [data-unfold]"),
    r: () => show("written"),
    d: () => show("differences"),
    h: reasoningsToggle,
    u: () => press("[data-undo]"),
    p: () => press("[data-before]"),
    m: () => press("[data-mine]"),
    e: () => press("[data-change]"),
    "?": keysToggle,
  };
  const judging = {
    ArrowLeft: () => prefer("left"),
    ArrowRight: () => prefer("right"),
    "=": () => prefer("tie"),
    t: () => prefer("tie"),
    b: () => prefer("both_bad"),
    1: () => defect("left"),
    2: () => defect("right"),
    n: () => write("note"),
    c: () => write("corrected"),
    s: () => press("[data-skip]"),
    Escape: () => press("[data-leave-change]"),
  };
  const actions = form ? { ...reading, ...judging } : reading;

  const go = () => (form ? form.requestSubmit() : press("[data-next]"));

  document.addEventListener("keydown", (event) => {
    if (event.target.matches('input[type="text"], textarea, select')) {
      if (event.key === "Escape") {
        event.target.blur();
        event.preventDefault();
      } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        go();
      }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (dialog.open && event.key !== "?") return;
    if (event.key === "Enter") {
      // Buttons, links and summaries keep their own Enter.
      if (event.target.closest("button, a, summary")) return;
      event.preventDefault();
      go();
      return;
    }
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-keys]")) keysToggle();
    if (event.target.closest("[data-reasonings]")) reasoningsToggle();
    const beginning = event.target.closest("[data-begin]");
    if (beginning) begin(beginning.dataset.begin);
  });
})();
