// Small behaviours that every page shares. No inline handlers anywhere: the CSP forbids them.
"use strict";

document.addEventListener("click", (event) => {
  const toggle = event.target.closest("[data-menu-toggle]");
  if (toggle) {
    const open = document.getElementById("side").classList.toggle("is-open");
    toggle.setAttribute("aria-expanded", String(open));
    return;
  }
  const unfold = event.target.closest("[data-unfold]");
  if (unfold) {
    const folds = unfold.closest("[data-folds]");
    const folded = folds.classList.toggle("is-folded");
    for (const one of folds.querySelectorAll("[data-unfold]")) {
      one.setAttribute("aria-expanded", String(!folded));
    }
    return;
  }
  const copier = event.target.closest("[data-copy]");
  if (copier) {
    navigator.clipboard?.writeText(copier.dataset.copy).then(() => {
      const before = copier.textContent;
      copier.textContent = "Copied";
      setTimeout(() => { copier.textContent = before; }, 1500);
    });
  }
});

// A form marked data-confirm asks once before it is sent.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

// A filter form marked data-autosubmit is sent when one of its fields changes.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-autosubmit]");
  if (form) form.requestSubmit();
});
