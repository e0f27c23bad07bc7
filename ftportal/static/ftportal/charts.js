// Draws Bokeh charts under the strict CSP. Loaded before Bokeh, which makes <style> elements: each
// gets the page's nonce. Charts follow the page's light or dark scheme, are disposed of when HTMX
// takes their element away, and live ones patch their data source instead of being swapped.
// Legend, hover and table are HTML around the canvas.
"use strict";

(() => {
  const POLL_MILLISECONDS = 2000;
  const MARKED_POINTS_MAX = 60; // beyond this the points of an unsmoothed line only thicken it

  const CROWDED_POINT_PIXELS = 2.5;

  const nonce = document.querySelector('meta[name="style-nonce"]')?.content ?? "";
  const createElement = Document.prototype.createElement;
  Document.prototype.createElement = function (name, options) {
    const element = createElement.call(this, name, options);
    if (String(name).toLowerCase() === "style") element.nonce = nonce;
    return element;
  };

  const charts = new Map(); // element -> {view, document, timer, hidden: names of series, tip, cross}
  const role = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Colours are named by role in Python ("--ink"), so light and dark come from the stylesheet.
  const resolveColours = (value) => {
    if (typeof value === "string") return /^--[a-z0-9-]+$/.test(value) ? role(value) : value;
    if (Array.isArray(value)) return value.map(resolveColours);
    if (value && typeof value === "object") {
      for (const key of Object.keys(value)) value[key] = resolveColours(value[key]);
    }
    return value;
  };

  const make = (tag, className, text = "") => {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return element;
  };
  const format = (number) => {
    if (number == null || Number.isNaN(number)) return "–";
    if (Math.abs(number) >= 1e4) return Math.round(number).toLocaleString("en");
    return String(Number(number.toPrecision(4)));
  };

  // --- series -------------------------------------------------------------------------------
  const renderers = (chart) => chart.view.model.renderers.filter((one) => one.data_source?.data.x);
  const named = (chart) => {
    const found = new Map();
    for (const one of renderers(chart)) {
      if (one.data_source.name) found.set(one.data_source.name, one.data_source);
    }
    return found;
  };
  const showSeries = (chart) => {
    for (const one of renderers(chart)) {
      const source = one.data_source;
      if (!source.name) continue;
      const crowded = one.glyph.type === "Scatter" && source.data.x.length > MARKED_POINTS_MAX;
      one.visible = !chart.hidden.has(source.name) && !(crowded && !source.data.raw);
      if (crowded && source.data.raw) one.glyph.size = { value: CROWDED_POINT_PIXELS };
    }
  };

  // --- hover --------------------------------------------------------------------------------
  const nearest = (values, wanted) => {
    let best = -1;
    for (let at = 0; at < values.length; at += 1) {
      if (best < 0 || Math.abs(values[at] - wanted) < Math.abs(values[best] - wanted)) best = at;
    }
    return best;
  };

  const tipAtX = (element, chart, sx) => {
    const { x_scale: scale } = chart.view.frame;
    const shown = [...named(chart)].filter(([name, source]) => !chart.hidden.has(name) && source.data.x.length);
    if (!shown.length) return null;
    const pointer = scale.invert(sx);
    const points = shown.map(([name, { data }]) => ({ name, data, at: nearest(data.x, pointer) }));
    const distance = ({ data, at }) => Math.abs(data.x[at] - pointer);
    const closest = points.reduce((best, one) => (distance(one) < distance(best) ? one : best));
    const x = closest.data.x[closest.at];
    const rows = [];
    for (const { name, data, at } of points) {
      if (Math.abs(scale.compute(data.x[at]) - scale.compute(x)) > 12) continue;
      const measured = data.raw ? ` · measured ${format(data.raw[at])}` : "";
      const elsewhere = data.x[at] === x ? "" : ` (at ${format(data.x[at])})`;
      rows.push({ name, text: format(data.y[at]) + measured + elsewhere });
    }
    return { title: `${element.dataset.xLabel} ${format(x)}`, rows, sx: scale.compute(x), cross: true };
  };

  const tipAtPoint = (chart, sx, sy) => {
    const { x_scale: xs, y_scale: ys } = chart.view.frame;
    let best = null;
    for (const { data_source: source } of renderers(chart)) {
      if (!source.data.tip) continue;
      source.data.tip.forEach((text, at) => {
        const x = xs.compute(source.data.x[at]);
        const y = ys.compute(source.data.y[at]);
        const away = Math.hypot(x - sx, y - sy);
        if (away < 28 && (!best || away < best.away)) best = { away, text, sx: x };
      });
    }
    if (!best) return null;
    const [title, ...lines] = best.text.split("\n");
    return { title, rows: lines.map((text) => ({ name: "", text })), sx: best.sx, cross: false };
  };

  // Columns are numbered, rows are named: both lie evenly, whatever the width.
  const tipAtCell = (chart, sx, sy) => {
    const { x_scale: xs, y_scale: ys, bbox } = chart.view.frame;
    const width = Math.abs(xs.compute(1) - xs.compute(0));
    const height = bbox.height / chart.view.model.y_range.factors.length;
    for (const { data_source: source } of renderers(chart)) {
      const at = source.data.x.findIndex((x, index) =>
        Math.abs(xs.compute(x) - sx) <= width / 2 && Math.abs(ys.compute(source.data.y[index]) - sy) <= height / 2);
      if (at < 0) continue;
      const [title, ...lines] = source.data.tip[at].split("\n");
      return { title, rows: lines.map((text) => ({ name: "", text })), sx: xs.compute(source.data.x[at]), cross: false };
    }
    return null;
  };

  const showTip = (element, chart, tip, sy) => {
    chart.tip.replaceChildren(make("strong", "", tip.title));
    for (const { name, text } of tip.rows) {
      const row = make("div", "chart-tip-row");
      const swatch = name && element.closest("figure").querySelector(`[data-series="${CSS.escape(name)}"]`);
      if (swatch) {
        row.className += ` ${[...swatch.classList].find((one) => one.startsWith("series-"))}`;
        row.append(swatch.querySelector("svg").cloneNode(true), make("span", "chart-tip-name", name));
      }
      row.append(make("span", "chart-tip-value", text));
      chart.tip.append(row);
    }
    const { bbox } = chart.view.frame;
    chart.cross.hidden = !tip.cross;
    chart.cross.style.left = `${tip.sx}px`;
    chart.cross.style.top = `${bbox.top}px`;
    chart.cross.style.height = `${bbox.height}px`;
    chart.tip.hidden = false;
    const room = element.clientWidth - chart.tip.offsetWidth;
    const left = tip.sx + 16 <= room ? tip.sx + 16 : tip.sx - 16 - chart.tip.offsetWidth;
    chart.tip.style.left = `${Math.max(0, Math.min(left, room))}px`;
    chart.tip.style.top = `${Math.max(0, Math.min(sy - 16, element.clientHeight - chart.tip.offsetHeight))}px`;
  };

  const hover = (event) => {
    const element = event.currentTarget;
    const chart = charts.get(element);
    if (!chart?.view) return;
    const edge = chart.view.el.getBoundingClientRect();
    const [sx, sy] = [event.clientX - edge.left, event.clientY - edge.top];
    const { bbox } = chart.view.frame;
    const inside = sx >= bbox.left - 8 && sx <= bbox.right + 8 && sy >= bbox.top && sy <= bbox.bottom;
    const tips = { x: () => tipAtX(element, chart, sx), point: () => tipAtPoint(chart, sx, sy), cell: () => tipAtCell(chart, sx, sy) };
    const tip = inside ? tips[element.dataset.hover]() : null;
    if (tip) showTip(element, chart, tip, sy);
    else leave(event);
  };
  const leave = (event) => {
    const chart = charts.get(event.currentTarget);
    if (chart) chart.tip.hidden = chart.cross.hidden = true;
  };

  // --- live ---------------------------------------------------------------------------------
  const fillTable = (element, chart) => {
    const details = element.closest("figure").querySelector("details.chart-table");
    if (!details?.open) return;
    const columns = [...named(chart).values()].map(({ data }) => new Map(data.x.map((x, at) => [x, data.y[at]])));
    const steps = [...new Set(columns.flatMap((column) => [...column.keys()]))].sort((a, b) => a - b);
    const body = details.querySelector("tbody");
    body.replaceChildren(
      ...steps.map((step) => {
        const row = document.createElement("tr");
        row.append(make("td", "", format(step)), ...columns.map((column) => make("td", "num", format(column.get(step)))));
        return row;
      }),
    );
  };

  const patch = (element, chart, update) => {
    const sources = named(chart);
    for (const [name, columns] of Object.entries(update.series)) {
      const source = sources.get(name);
      if (!source) continue;
      const numbers = {};
      for (const [key, values] of Object.entries(columns)) numbers[key] = values.map((one) => one ?? NaN);
      source.data = numbers;
    }
    if ([...sources.values()].some(({ data }) => data.x.length)) {
      for (const { data_source: source } of renderers(chart)) {
        if (source.tags.includes("nothing-yet")) source.data = { x: [], y: [] };
      }
    }
    showSeries(chart);
    fillTable(element, chart);
  };

  const poll = async (element, chart) => {
    if (document.hidden) return;
    const response = await fetch(element.dataset.updateUrl, { headers: { Accept: "application/json" } });
    if (!response.ok || charts.get(element) !== chart) return;
    const update = await response.json();
    patch(element, chart, update);
    if (!update.live) clearInterval(chart.timer);
  };

  // --- life ---------------------------------------------------------------------------------
  const dispose = (element) => {
    const chart = charts.get(element);
    if (!chart) return;
    charts.delete(element);
    clearInterval(chart.timer);
    if (chart.view) {
      const at = window.Bokeh.documents.indexOf(chart.view.model.document);
      chart.view.remove();
      if (at >= 0) window.Bokeh.documents.splice(at, 1);
    }
    element.replaceChildren();
  };

  const draw = async (element) => {
    const script = document.getElementById(element.dataset.item);
    if (charts.has(element) || !script || element.closest("details.chart-group:not([open])")) return;
    const chart = { view: null, timer: 0, hidden: new Set(), tip: make("div", "chart-tip"), cross: make("div", "chart-cross") };
    charts.set(element, chart);
    element.replaceChildren();
    const item = resolveColours(JSON.parse(script.textContent));
    const manager = await window.Bokeh.embed.embed_item(item, element);
    const [view] = manager.roots ?? [...manager];
    if (charts.get(element) !== chart) return; // taken away while it was drawn
    chart.view = view;
    chart.tip.hidden = chart.cross.hidden = true;
    element.append(chart.cross, chart.tip);
    for (const button of element.closest("figure").querySelectorAll('[data-series][aria-pressed="false"]')) {
      chart.hidden.add(button.dataset.series);
    }
    showSeries(chart);
    element.addEventListener("pointermove", hover);
    element.addEventListener("pointerleave", leave);
    element.dataset.drawn = "true";
    element.dispatchEvent(new CustomEvent("chart:drawn", { bubbles: true, detail: { view } }));
    if (element.dataset.updateUrl) {
      chart.timer = setInterval(() => poll(element, chart).catch(() => {}), POLL_MILLISECONDS);
    }
  };

  const drawAll = (root) => {
    if (!window.Bokeh) return;
    if (root.matches?.("[data-chart]")) draw(root);
    for (const element of root.querySelectorAll("[data-chart]")) draw(element);
  };

  document.addEventListener("DOMContentLoaded", () => drawAll(document));
  document.addEventListener("htmx:load", (event) => drawAll(event.detail.elt));
  document.addEventListener("htmx:beforeCleanupElement", (event) => dispose(event.detail.elt ?? event.target));
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-series]");
    const element = button?.closest("figure").querySelector("[data-chart]");
    const chart = charts.get(element);
    if (!chart?.view) return;
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    chart.hidden[shown ? "delete" : "add"](button.dataset.series);
    showSeries(chart);
  });
  document.addEventListener("toggle", (event) => {
    if (event.target.matches?.("details.chart-group[open]")) drawAll(event.target);
    const element = event.target.closest?.("figure")?.querySelector("[data-update-url]");
    const chart = charts.get(element);
    if (chart?.view) fillTable(element, chart);
  }, true);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const element of [...charts.keys()]) {
      dispose(element);
      draw(element);
    }
  });
})();
