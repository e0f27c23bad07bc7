// Charts of one group (data-zoom) show the same stretch of their x axes: drag over one of them, or
// type the ends into the group's form (data-zoom-of). Loaded beside charts.js, which draws them.
"use strict";

(() => {
  // name -> {ranges: Map of element -> Range1d, whole: [start, end] | null, shown: the same}
  const groups = new Map();
  let spreading = false;

  const groupOf = (name) => {
    if (!groups.has(name)) groups.set(name, { ranges: new Map(), whole: null, shown: null });
    return groups.get(name);
  };
  const fill = (name, [start, end]) => {
    for (const form of document.querySelectorAll(`form[data-zoom-of="${CSS.escape(name)}"]`)) {
      form.elements.from.value = Math.round(start);
      form.elements.to.value = Math.round(end);
    }
  };

  const spread = (name, [start, end]) => {
    if (spreading || !(end > start)) return;
    spreading = true;
    const group = groupOf(name);
    group.shown = [start, end];
    for (const [element, range] of group.ranges) {
      if (!element.isConnected) group.ranges.delete(element);
      else range.setv({ start, end });
    }
    fill(name, [start, end]);
    spreading = false;
  };

  document.addEventListener("chart:drawn", (event) => {
    const element = event.target;
    const name = element.dataset.zoom;
    if (!name) return;
    const range = event.detail.view.model.x_range;
    const group = groupOf(name);
    group.ranges.set(element, range);
    group.whole ??= [range.start, range.end];
    range.change.connect(() => spread(name, [range.start, range.end]));
    if (group.shown) range.setv({ start: group.shown[0], end: group.shown[1] }); // drawn again
    else fill(name, [range.start, range.end]);
  });

  const ofForm = (event) => event.target.closest?.("form[data-zoom-of]");
  document.addEventListener("change", (event) => {
    const form = ofForm(event);
    if (!form) return;
    spread(form.dataset.zoomOf, [form.elements.from.valueAsNumber, form.elements.to.valueAsNumber]);
  });
  document.addEventListener("submit", (event) => {
    if (ofForm(event)) event.preventDefault(); // the fields act when they change
  });
  document.addEventListener("click", (event) => {
    const name = event.target.closest?.("[data-zoom-reset]")?.dataset.zoomReset;
    const whole = name && groupOf(name).whole;
    if (whole) spread(name, whole);
  });
})();
