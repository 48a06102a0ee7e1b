// Dialogs: what is asked before anything changes, and what is shown beside what one looks at.
import { append, button, el, refocus } from "./dom.js";

export function dialog(title, content, ...actions) {
  const heading = el("h2", { id: "dialog-title" }, title);
  const box = el("dialog.dialog", { "aria-labelledby": "dialog-title" });
  const close = () => box.close();
  const opener = document.activeElement;
  append(box, [
    el("div.dialog-head", {}, heading, el("button.icon-button", { type: "button", "aria-label": "Close", title: "Close (Esc)", onclick: close }, "✕")),
    el("div.dialog-body", {}, content),
    actions.length ? el("div.dialog-actions", {}, actions) : null,
  ]);
  box.addEventListener("close", () => { box.remove(); refocus(opener); });
  box.addEventListener("click", (event) => { if (event.target === box) close(); });
  document.body.append(box);
  box.showModal();
  return { box, close };
}

// Ask before a change; `work` does it, and what it fails with is told in the dialog.
export function confirmed(title, content, label, work, { danger = false } = {}) {
  const told = el("p.dialog-error", { role: "alert" });
  const cancel = button("Cancel", () => opened.close(), { autofocus: true });
  const go = button(label, async () => {
    go.disabled = true;
    told.replaceChildren();
    try {
      await work();
      opened.close();
    } catch (error) {
      append(told, [error.message]);
      go.disabled = false;
    }
  });
  go.classList.add(danger ? "is-danger" : "is-primary");
  const opened = dialog(title, [content, told], cancel, go);
  return opened;
}

export function toast(text, kind = "done") {
  const note = el(`div.toast.is-${kind}`, {}, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), 6000);
}
