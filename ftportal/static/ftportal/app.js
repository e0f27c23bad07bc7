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

// The form for a person's time zone offers the browser's own.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("form[data-zones]");
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const known = form && [...form.querySelectorAll("datalist option")].some((one) => one.value === zone);
  if (!known || form.elements.time_zone.value === zone) return;
  const take = form.querySelector("[data-zone-take]");
  take.textContent = zone;
  take.addEventListener("click", () => { form.elements.time_zone.value = zone; });
  form.querySelector("[data-zone-hint]").hidden = false;
});

// A table that is wider or higher than its place scrolls there: the keyboard reaches that place.
(() => {
  const nameOf = (place) => {
    const room = place.closest("figure, section, article, details, main");
    const words = room?.querySelector("h1, h2, h3, summary")?.textContent.trim().replace(/\s+/g, " ");
    return words ? `Table: ${words}` : "Table";
  };
  const look = (place) => {
    const scrolls = place.scrollWidth > place.clientWidth || place.scrollHeight > place.clientHeight;
    if (scrolls === place.hasAttribute("tabindex")) return;
    place.toggleAttribute("tabindex", scrolls);
    if (scrolls) {
      place.tabIndex = 0;
      place.setAttribute("role", "group");
      place.setAttribute("aria-label", nameOf(place));
    } else {
      place.removeAttribute("role");
      place.removeAttribute("aria-label");
    }
  };
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) look(target.closest(".table-wrap"));
  });
  const watch = (root) => {
    for (const place of root.querySelectorAll(".table-wrap")) {
      sizes.observe(place);
      if (place.firstElementChild) sizes.observe(place.firstElementChild);
    }
  };
  document.addEventListener("DOMContentLoaded", () => watch(document));
  document.addEventListener("htmx:load", (event) => watch(event.detail.elt.parentElement ?? document));
})();
