// Draws Bokeh charts under the strict CSP. Loaded before Bokeh, which makes <style> elements: each
// gets the page's nonce. Charts follow the page's light or dark scheme, are disposed of when HTMX
// takes their element away, and live ones patch their data source instead of being swapped.
"use strict";

(() => {
  const nonce = document.querySelector('meta[name="style-nonce"]')?.content ?? "";
  const createElement = Document.prototype.createElement;
  Document.prototype.createElement = function (name, options) {
    const element = createElement.call(this, name, options);
    if (String(name).toLowerCase() === "style") element.nonce = nonce;
    return element;
  };

  const views = new Map(); // element -> {view, timer}
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Colours are named by role in Python ("--ink"), so light and dark come from the stylesheet.
  const resolveColours = (value) => {
    if (typeof value === "string") return value.startsWith("--") ? ink(value) : value;
    if (Array.isArray(value)) return value.map(resolveColours);
    if (value && typeof value === "object") {
      for (const key of Object.keys(value)) value[key] = resolveColours(value[key]);
    }
    return value;
  };

  const dispose = (element) => {
    const entry = views.get(element);
    if (!entry) return;
    clearInterval(entry.timer);
    for (const view of [...entry.views]) {
      const doc = view.model.document;
      view.remove?.();
      const at = doc ? window.Bokeh.documents.indexOf(doc) : -1;
      if (at >= 0) window.Bokeh.documents.splice(at, 1);
    }
    views.delete(element);
    element.replaceChildren();
  };

  const sourcesByName = (doc) => {
    const found = new Map();
    for (const model of doc._all_models.values()) {
      if (model.type === "ColumnDataSource" && model.name) found.set(model.name, model);
    }
    return found;
  };

  const poll = async (element, doc) => {
    const response = await fetch(element.dataset.updateUrl, { headers: { Accept: "application/json" } });
    if (!response.ok) return;
    const update = await response.json();
    const sources = sourcesByName(doc);
    for (const [name, columns] of Object.entries(update.series)) {
      const source = sources.get(name);
      if (source) source.data = columns;
    }
    if (!update.live) {
      clearInterval(views.get(element)?.timer);
    }
  };

  const draw = async (element) => {
    if (views.has(element)) return;
    const script = document.getElementById(element.dataset.item);
    if (!script) return;
    const entry = { views: [], timer: 0 };
    views.set(element, entry);
    element.replaceChildren();
    const item = resolveColours(JSON.parse(script.textContent));
    const manager = await window.Bokeh.embed.embed_item(item, element);
    entry.views = manager.roots ? [...manager.roots] : [...manager];
    const doc = entry.views[0]?.model.document;
    if (element.dataset.updateUrl && doc) {
      entry.timer = setInterval(() => poll(element, doc).catch(() => {}), 2000);
    }
  };

  const drawAll = (root) => {
    if (!window.Bokeh) return;
    for (const element of root.querySelectorAll("[data-chart]")) draw(element);
  };

  document.addEventListener("DOMContentLoaded", () => drawAll(document));
  document.addEventListener("htmx:afterSettle", (event) => drawAll(event.target));
  document.addEventListener("htmx:beforeSwap", (event) => {
    for (const element of [...views.keys()]) {
      if (event.detail.target.contains(element)) dispose(element);
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const element of [...views.keys()]) {
      dispose(element);
      draw(element);
    }
  });
})();
