// What keys do, and the list of it.
import { dialog } from "./dialogs.js";
import { el } from "./dom.js";

const actions = new Map();
const lines = [];

export function key(names, what, action) {
  for (const name of names) actions.set(name, action);
  if (what) lines.push([names, what]);
}

const isTyping = (target) => target.closest?.("input, textarea, select, [contenteditable]");
const LABELS = { ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };

export function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    const action = actions.get(event.key);
    if (action && action(event) !== false) event.preventDefault();
  });
  key(["?"], "this list", help);
}

export const help = () =>
  dialog("Keys", el("dl.keys", {}, lines.map(([names, what]) => [
    el("dt", {}, names.map((name) => el("kbd", {}, LABELS[name] ?? name))),
    el("dd", {}, what),
  ])));

// Move the focus among links of a list, from the one that has it, or is the current one.
export function step(selector, by) {
  const all = [...document.querySelectorAll(selector)];
  if (!all.length || all[0].closest("ol").offsetParent === null) return false; // a list is shown as a whole, or not
  let at = all.indexOf(document.activeElement);
  if (at < 0) at = all.findIndex((node) => node.getAttribute("aria-current") === "true");
  const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  return next;
}
