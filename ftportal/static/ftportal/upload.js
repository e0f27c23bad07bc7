// The upload form with drag and drop and real progress. Without this file it is a plain form.
"use strict";

(() => {
  const form = document.querySelector("form[data-upload]");
  if (!form) return;
  const input = form.querySelector("input[type=file]");
  const zone = form.querySelector("[data-dropzone]");
  const label = form.querySelector("[data-file-name]");
  const name = form.querySelector("input[name=name]");
  const progress = form.querySelector("[data-upload-progress]");
  const bar = progress.querySelector("progress");
  const status = form.querySelector("[data-upload-status]");
  const button = form.querySelector("button[type=submit]");
  const cancel = form.querySelector("[data-upload-cancel]");
  const problem = document.getElementById(form.dataset.problem);
  const limitBytes = Number(form.dataset.limitBytes);
  const LOOK_BYTES = 4 * 2 ** 20;
  let nameIsOurs = !name.value;

  // As Django's filesizeformat writes sizes on the pages.
  const size = (bytes) => {
    if (bytes < 2 ** 10) return `${bytes} bytes`;
    return bytes < 2 ** 20 ? `${(bytes / 2 ** 10).toFixed(1)} KB` : `${(bytes / 2 ** 20).toFixed(1)} MB`;
  };

  const show = (title, text) => {
    const notice = document.createElement("div");
    notice.className = "notice notice-bad";
    notice.setAttribute("role", "alert");
    const strong = document.createElement("strong");
    strong.textContent = title;
    notice.append(strong, " " + text);
    problem.replaceChildren(notice);
  };

  const chosen = () => {
    const file = input.files[0];
    if (!file) return;
    label.textContent = `${file.name}, ${size(file.size)}`;
    if (nameIsOurs) name.value = file.name.replace(/\.[^.]+$/, "").slice(0, 120);
    problem.replaceChildren();
    look(file);
  };

  // What the file is, before it is sent: the server reads its beginning as it will read the whole.
  const look = (file) => {
    const place = form.querySelector("[data-look]");
    if (!place) return;
    const data = new FormData();
    data.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    data.append("head", file.slice(0, LOOK_BYTES), "head");
    data.append("filename", file.name);
    if (file.size <= LOOK_BYTES) data.append("whole", "yes");
    fetch(place.dataset.look, { method: "POST", body: data })
      .then((answer) => (answer.ok ? answer.text() : ""))
      .then((text) => { if (input.files[0] === file) place.innerHTML = text; })
      .catch(() => place.replaceChildren());
  };

  name.addEventListener("input", () => { nameIsOurs = !name.value; });
  input.addEventListener("change", chosen);
  ["dragenter", "dragover"].forEach((type) => zone.addEventListener(type, (event) => {
    event.preventDefault();
    zone.classList.add("is-over");
  }));
  ["dragleave", "drop"].forEach((type) => zone.addEventListener(type, () => {
    zone.classList.remove("is-over");
  }));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    if (!event.dataTransfer.files.length) return;
    const one = new DataTransfer();
    one.items.add(event.dataTransfer.files[0]);
    input.files = one.files;
    chosen();
  });
  // A file dropped beside the zone must not open in place of the page.
  ["dragover", "drop"].forEach((type) => window.addEventListener(type, (event) => event.preventDefault()));

  const working = (yes) => {
    progress.hidden = !yes;
    cancel.hidden = !yes;
    button.disabled = yes;
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const file = input.files[0];
    if (file && file.size > limitBytes) {
      show(`The file has ${size(file.size)}, the limit is ${size(limitBytes)}.`, "Split it into several files.");
      return;
    }
    const request = new XMLHttpRequest();
    const started = Date.now();
    request.open("POST", form.action || window.location.href);
    request.setRequestHeader("X-Upload", "script");
    request.upload.addEventListener("progress", (sent) => {
      if (!sent.lengthComputable) return;
      bar.value = sent.loaded / sent.total;
      const seconds = (Date.now() - started) / 1000;
      const left = seconds * (sent.total / sent.loaded - 1);
      const estimate = seconds > 1 && left >= 1 ? `, about ${Math.ceil(left)} s left` : "";
      status.textContent = sent.loaded < sent.total
        ? `${size(sent.loaded)} of ${size(sent.total)}${estimate}`
        : "Uploaded; checking the file …";
    });
    request.addEventListener("load", () => {
      const place = request.getResponseHeader("Location");
      if (request.status === 201 && place) {
        window.location.assign(place);
        return;
      }
      working(false);
      if (request.status === 422) problem.innerHTML = request.responseText;
      else if (request.status === 413) show("The server in front of the portal refused the size of the file.", "Split it, or ask your operator to raise its limit.");
      else show(`The upload failed (status ${request.status}).`, "Reload the page and try again; you may have been logged out.");
      problem.scrollIntoView({ block: "nearest" });
    });
    request.addEventListener("error", () => {
      working(false);
      show("The connection broke before the whole file was sent.", "Nothing was kept. Check the network and try again.");
    });
    request.addEventListener("abort", () => {
      working(false);
      show("The upload was cancelled.", "Nothing was kept.");
    });
    cancel.onclick = () => request.abort();
    bar.value = 0;
    status.textContent = "Sending …";
    problem.replaceChildren();
    working(true);
    request.send(new FormData(form));
  });

  chosen();
})();
