// A value whose parts are read when they are opened.
import { append, busy, button, el, failed } from "./dom.js";
import { count, path as written } from "./format.js";

const UNIT = { object: ["key", "keys"], array: ["element", "elements"] };

// `ask(path, offset)` reads a slice; `acts(path)` makes buttons for a place; `opened` holds the paths of what is open,
// and what is made of another state with it is opened there, too.
export class Tree {
  constructor(ask, acts = () => [], opened = new Set()) {
    Object.assign(this, { ask, acts, opened });
  }

  // One member, by what is told of it: {key, type, length, preview, value, cut}.
  row(member, path, label = String(member.key)) {
    const opens = ["object", "array", "closed"].includes(member.type) ? member.length !== 0 : member.type === "text" && member.cut;
    const children = el("div.children", { hidden: true });
    const head = [
      el("span.key", { class: typeof member.key === "number" ? "key is-place" : "key", dir: "auto" }, label),
      el("span.held", { class: `held is-${member.type}`, dir: "auto" }, this.brief(member)),
    ];
    const toggle = opens
      ? el("button.branch", { type: "button", "aria-expanded": "false", onclick: () => this.toggle(toggle, children, path) }, el("span.caret", { "aria-hidden": "true" }, "▸"), head)
      : el("div.branch", {}, el("span.caret"), head);
    const actions = el("span.acts", {}, this.acts(path));
    const node = el("div.node", { title: undefined }, el("div.node-head", {}, toggle, actions), children);
    node.dataset.path = written(path);
    if (opens) toggle.dataset.place = node.dataset.path;
    if (opens && this.opened.has(node.dataset.path)) this.toggle(toggle, children, path);
    return node;
  }

  brief(member) {
    if (member.type === "text") return `"${member.value}${member.cut ? "…" : ""}"`;
    if (member.type === "closed") return member.preview ?? "not read yet";
    if (member.type === "nothing") return "null";
    if (UNIT[member.type]) return [el("span.quiet", {}, member.length ? count(member.length, ...UNIT[member.type]) + " " : ""), member.preview];
    return String(member.value);
  }

  async toggle(toggle, children, path) {
    const isOpen = toggle.getAttribute("aria-expanded") === "true";
    if (isOpen) this.opened.delete(written(path));
    else this.opened.add(written(path));
    toggle.setAttribute("aria-expanded", String(!isOpen));
    toggle.querySelector(".caret").textContent = isOpen ? "▸" : "▾";
    children.hidden = isOpen;
    if (!isOpen && !children.dataset.read) {
      children.dataset.read = "1";
      await this.read(children, path, 0);
    }
  }

  async read(into, path, offset) {
    const waiting = busy();
    into.append(waiting);
    try {
      const slice = await this.ask(path, offset);
      waiting.remove();
      if (slice.members) append(into, slice.members.map((member) => this.row(member, [...path, member.key])));
      else append(into, [el("pre.code", { dir: "auto" }, String(slice.value))]);
      for (const note of slice.notes ?? []) if (!offset) append(into, [el("p.note", {}, `⚠ ${note.path}: ${note.text}`)]);
      if (slice.more) {
        const next = offset + (slice.members ? slice.members.length : slice.value.length);
        const more = button(`More: ${(slice.length - next).toLocaleString("en")} left`, () => { more.remove(); this.read(into, path, next); });
        into.append(more);
      }
    } catch (error) {
      waiting.remove();
      const told = failed(error, () => { told.remove(); this.read(into, path, offset); });
      into.append(told);
    }
  }
}
