// What takes how much room.
import { get } from "./api.js";
import { link } from "./address.js";
import { el, empty, load } from "./dom.js";
import { bytes, count, space } from "./format.js";
import { cut } from "./text.js";

function bars(title, rows) {
  if (!rows.length) return null;
  const most = Math.max(1, ...rows.map((row) => row.size ?? 0));
  return el("section.bars", {}, el("h3", {}, title), el("table", {}, el("tbody", {}, rows.map((row) =>
    el("tr", {},
      el("th", { scope: "row", dir: "auto" }, row.href ? el("a", { href: row.href }, row.label) : row.label),
      el("td.bar-cell", { "aria-hidden": "true" }, row.size ? el("span.bar", { vars: { "--part": String(row.size / most) } }) : null),
      el("td.number", {}, row.size === null ? "not known" : bytes(row.size)),
      el("td.quiet", {}, row.more ?? ""))))));
}

const KINDS = { checkpoints: "checkpoint", writes: "write", chunks: "chunk", messages: "message list", items: "item" };

export function report(found, options = {}) {
  const growth = (channel) => channel.steps ? `+${bytes(Math.round(channel.growth))} a step, of the last ${channel.steps}` : "";
  return el("div.sizes", {},
    el("p.total", {}, el("b", {}, bytes(found.size)), found.thread_id === null ? " in this store" : " in this thread"),
    found.notes.map((note) => el("p.note", { dir: "auto" }, "⚠ " + note)),
    bars("By kind", found.kinds.filter((kind) => kind.size !== 0).map((kind) => ({ label: kind.kind, size: kind.size, more: kind.count === null ? "" : count(kind.count, KINDS[kind.kind] ?? "record") }))),
    bars("Largest threads", found.threads.map((thread) => ({ label: cut(thread.title ?? thread.thread_id, 70), href: link("thread", thread.thread_id, { tab: "size" }), size: thread.size, more: thread.checkpoints ? count(thread.checkpoints, "checkpoint") : "messages only" }))),
    bars("Channels, and what grows", found.channels.map((channel) => ({ label: cut((channel.checkpoint_ns ? space(channel.checkpoint_ns) + " › " : "") + channel.channel, 70), size: channel.size, more: growth(channel) }))),
    bars("Largest values", found.values.map((value) => ({
      label: cut((value.checkpoint_ns ? space(value.checkpoint_ns) + " › " : "") + value.path, 90), size: value.encoded,
      href: found.thread_id === null ? undefined : link("thread", found.thread_id, { ...options, tab: "state", ns: value.checkpoint_ns || undefined }),
    }))));
}

export class SizesView {
  constructor() {
    this.body = el("div.panel-body");
    this.node = el("section.page.scrolls", { "aria-labelledby": "sizes-title" }, el("h1", { id: "sizes-title" }, "Sizes"), this.body);
  }

  load() {
    return load(this.body, () => get("size", { top: 30 }), (found) => (found.size || found.kinds.some((kind) => kind.count) ? report(found) : empty("This store is empty")));
  }
}
