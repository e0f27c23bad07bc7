// The upload form with drag and drop: files go in pieces, so a cut line or a reload loses nothing.
// Without this file it is a plain form.
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
  const lookPlace = form.querySelector("[data-look]");
  const limitBytes = Number(form.dataset.limitBytes);
  const LOOK_BYTES = 4 * 2 ** 20;
  const PIECE_BYTES = 8 * 2 ** 20;
  const RETRIES = 60;
  let nameIsOurs = !name.value;
  let stopping = null; // an AbortController while files are being sent

  // As Django's filesizeformat writes sizes on the pages.
  const size = (bytes) => {
    if (bytes < 2 ** 10) return `${bytes} bytes`;
    if (bytes < 2 ** 20) return `${(bytes / 2 ** 10).toFixed(1)} KB`;
    return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MB` : `${(bytes / 2 ** 30).toFixed(1)} GB`;
  };

  const show = (title, text) => {
    const notice = document.createElement("div");
    notice.className = "notice notice-bad";
    notice.setAttribute("role", "alert");
    const strong = document.createElement("strong");
    strong.textContent = title;
    notice.append(strong, " " + text);
    problem.replaceChildren(notice);
    problem.scrollIntoView({ block: "nearest" });
  };

  const chosen = () => {
    const files = [...input.files];
    if (!files.length) return;
    label.textContent = files.length > 1
      ? `${files.length} files, ${size(files.reduce((sum, file) => sum + file.size, 0))}`
      : `${files[0].name}, ${size(files[0].size)}`;
    name.disabled = files.length > 1; // each gets the name of its file
    if (nameIsOurs) name.value = files.length > 1 ? "" : files[0].name.replace(/\.[^.]+$/, "").slice(0, 120);
    problem.replaceChildren();
    look(files[0]);
  };

  // What the file is, before it is sent: the server reads its beginning as it will read the whole.
  const look = (file) => {
    if (!lookPlace) return;
    const data = new FormData();
    data.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    data.append("head", file.slice(0, LOOK_BYTES), "head");
    data.append("filename", file.name);
    if (file.size <= LOOK_BYTES) data.append("whole", "yes");
    fetch(lookPlace.dataset.look, { method: "POST", body: data })
      .then((answer) => (answer.ok ? answer.text() : ""))
      .then((text) => { if (input.files[0] === file) lookPlace.innerHTML = text; })
      .catch(() => lookPlace.replaceChildren());
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
    input.files = event.dataTransfer.files;
    chosen();
  });
  // A file dropped beside the zone must not open in place of the page.
  ["dragover", "drop"].forEach((type) => window.addEventListener(type, (event) => event.preventDefault()));

  const working = (yes) => {
    progress.hidden = !yes;
    cancel.hidden = !yes;
    button.disabled = yes;
  };

  class Refused extends Error {
    constructor(title, cure) {
      super(title);
      this.cure = cure;
    }
  }

  const wait = (seconds, signal) => new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(new DOMException("", "AbortError")); });
  });

  // One request of an upload; a cut line is waited out, with longer and longer pauses.
  const post = async (url, body, signal) => {
    for (let attempt = 0; ; attempt += 1) {
      let answer = null;
      try {
        answer = await fetch(url, {
          method: "POST", body, signal,
          headers: { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
        });
      } catch (error) {
        if (error.name === "AbortError" || attempt >= RETRIES) throw error;
      }
      if (answer && (answer.ok || answer.status === 409)) return answer.json();
      if (answer && answer.status === 422) {
        const told = await answer.json();
        throw new Refused(told.message, told.cure);
      }
      if (answer && answer.status < 500) throw new Refused(
        `The upload failed (status ${answer.status}).`, "Reload the page and try again; you may have been logged out.");
      const seconds = Math.min(20, 1 + attempt);
      status.textContent = `The connection is gone; what was sent is kept. Trying again in ${seconds} s …`;
      await wait(seconds, signal);
    }
  };

  const sendPieces = async (file, tell, signal) => {
    const begin = new FormData();
    begin.append("filename", file.name);
    begin.append("size", file.size);
    begin.append("fingerprint", `${file.name}/${file.size}/${file.lastModified}`);
    const upload = await post(form.dataset.pieces, begin, signal);
    let offset = upload.offset;
    const started = Date.now(), from = offset;
    while (offset < file.size) {
      tell(offset, from, started);
      const piece = file.slice(offset, offset + PIECE_BYTES);
      offset = (await post(`${upload.url}?offset=${offset}`, piece, signal)).offset;
    }
    tell(offset, from, started);
    return upload.id;
  };

  // The form itself, with the upload in the file's place; resolves to the batch's address.
  const makeBatch = async (id, signal) => {
    const data = new FormData(form);
    data.delete("file");
    data.append("upload", id);
    const answer = await fetch(form.action || window.location.href, {
      method: "POST", body: data, signal, headers: { "X-Upload": "script" },
    });
    const place = answer.headers.get("Location");
    if (answer.status === 201 && place) return place;
    if (answer.status === 422) {
      problem.innerHTML = await answer.text();
      problem.scrollIntoView({ block: "nearest" });
      return null;
    }
    throw new Refused(`The upload failed (status ${answer.status}).`, "Reload the page and try again; you may have been logged out.");
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const files = [...input.files];
    const large = files.find((file) => file.size > limitBytes);
    if (large) {
      show(`${large.name} has ${size(large.size)}, the limit is ${size(limitBytes)}.`, "Split it into several files.");
      return;
    }
    stopping = new AbortController();
    problem.replaceChildren();
    working(true);
    let place = null;
    try {
      for (const [at, file] of files.entries()) {
        const which = files.length > 1 ? `File ${at + 1} of ${files.length}: ` : "";
        const id = await sendPieces(file, (sent, from, started) => {
          bar.value = sent / file.size;
          const seconds = (Date.now() - started) / 1000;
          const left = seconds * (file.size - sent) / Math.max(1, sent - from);
          const estimate = seconds > 1 && left >= 1 ? `, about ${Math.ceil(left)} s left` : "";
          status.textContent = sent < file.size
            ? `${which}${size(sent)} of ${size(file.size)}${estimate}`
            : `${which}Uploaded; checking the file …`;
        }, stopping.signal);
        place = await makeBatch(id, stopping.signal);
        if (!place) break;
      }
      if (place) window.location.assign(files.length > 1 ? form.dataset.list : place);
    } catch (error) {
      if (error instanceof Refused) show(error.message, error.cure);
      else if (error.name === "AbortError") show("The upload was paused.", "What was sent is kept for a day: choose the same file to go on.");
      else show("The connection broke before the whole file was sent.", "What was sent is kept for a day: choose the same file to go on.");
    } finally {
      if (!place) working(false);
    }
  });

  cancel.addEventListener("click", () => stopping && stopping.abort());
  chosen();
})();
